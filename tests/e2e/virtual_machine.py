"""A virtual machine under QEMU, without hardware virtualization: own kernel, own firmware on request, power cuts.

Its disk is made of a container's files, so that slow installations run at native speed first. Where a test needs a
card, a folder that looks like a PCI bus is mounted over the machine's own, as in a container.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

from tests.e2e import base
from tests.e2e.container import SSH_OPTIONS, Container, free_port

TOOLS = {"qemu-system-x86_64": "qemu-system-x86", "mke2fs": "e2fsprogs"}
BOOT_LIMIT_S = 900
FIRMWARE = Path("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd")
_KERNEL_ARGUMENTS = "root=/dev/vda rw console=ttyS0 panic=1"
_NETWORK = "[Match]\nName=en* eth*\n[Network]\nDHCP=ipv4\n"


def lacking() -> str | None:
    """Why no virtual machine can run here, in one sentence; None where one can."""
    missing = sorted(package for tool, package in TOOLS.items() if shutil.which(tool) is None)
    return (
        f"virtual machines need these Debian packages: sudo apt install {' '.join(missing)}"
        if missing
        else None
    )


def disk(root: Path, image: Path, *, gib: int = 12) -> None:
    """Make a bootable ext4 image of a root folder."""
    ssh = root / "etc/ssh/sshd_config.d/dlbox-test.conf"
    ssh.write_text("UseDNS no\n")
    for unit in ("systemd-networkd.service", "networking.service"):
        (root / "etc/systemd/system" / unit).unlink(missing_ok=True)
    (root / "etc/systemd/network").mkdir(exist_ok=True)
    (root / "etc/systemd/network/80-dlbox-test.network").write_text(_NETWORK)
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "systemd-networkd.service").symlink_to("/lib/systemd/system/systemd-networkd.service")
    (root / "etc/resolv.conf").write_text("nameserver 10.0.2.3\n")
    (root / "etc/fstab").write_text("/dev/vda / ext4 defaults 0 1\n")
    subprocess.run(
        ["mke2fs", "-q", "-t", "ext4", "-F", "-d", str(root), str(image), f"{gib}G"],
        check=True, capture_output=True,
    )  # fmt: skip


def kernel(root: Path) -> tuple[Path, Path]:
    """The newest kernel in a root folder, and its initramfs."""
    newest = max((root / "boot").glob("vmlinuz-*"), key=lambda path: path.stat().st_mtime)
    return newest, newest.with_name(newest.name.replace("vmlinuz-", "initrd.img-"))


def loaders(container: Container, folder: Path) -> Path:
    """Debian's boot loaders, as Microsoft and Debian signed them, unpacked below a folder."""
    place = "/var/tmp/loaders"
    container.output(
        f"mkdir {place} && cd {place} && apt-get download -q shim-signed grub-efi-amd64-signed"
        " && for deb in *.deb; do dpkg -x $deb .; done",
        timeout_s=300,
    )
    shutil.move(container.root / place.lstrip("/"), folder / "loaders")
    return folder / "loaders/usr/lib"


def efi(signed: Path, esp: Path, vmlinuz: Path, initrd: Path) -> None:
    """The folder of an EFI partition from which firmware with Microsoft's keys boots a kernel that Debian signed."""
    (esp / "EFI/BOOT").mkdir(parents=True)
    (esp / "EFI/debian").mkdir()
    shutil.copy(signed / "shim/shimx64.efi.signed", esp / "EFI/BOOT/BOOTX64.EFI")
    shutil.copy(signed / "grub/x86_64-efi-signed/grubx64.efi.signed", esp / "EFI/BOOT/grubx64.efi")
    shutil.copy(vmlinuz, esp / "vmlinuz")
    shutil.copy(initrd, esp / "initrd.img")
    (esp / "EFI/debian/grub.cfg").write_text(
        f"linux /vmlinuz {_KERNEL_ARGUMENTS}\ninitrd /initrd.img\nboot\n"
    )


class VirtualMachine:
    """A context manager: the machine runs inside it. ``image`` is changed."""

    def __init__(
        self, folder: Path, image: Path, vmlinuz: Path, initrd: Path, public: str, *, esp: Path | None = None
    ) -> None:
        """``public``: the host key. ``esp``: boots from this EFI partition's folder, with Secure Boot on."""
        self.name = folder.name
        self._folder, self._image, self._esp = folder, image, esp
        self._kernel = (vmlinuz, initrd)
        self.port = free_port()
        self.key = base.cache() / "id_ed25519"
        self.known_hosts = folder / "known_hosts"
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {public}\n")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def console(self) -> str:
        return (self._folder / "console.log").read_text(errors="replace")

    def __enter__(self) -> VirtualMachine:
        self.boot()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut_power()

    def boot(self) -> None:
        command = [
            "qemu-system-x86_64", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max", "-smp", "2", "-m", "2048",
            "-display", "none", "-nodefaults", "-no-reboot",
            "-serial", f"file:{self._folder / 'console.log'}",
            "-monitor", f"unix:{self._folder / 'monitor'},server,nowait",
            "-drive", f"file={self._image},if=virtio,format=raw,cache=unsafe",
            "-nic", f"user,id=nic0,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{self.port}-:22",
            "-device", "virtio-rng-pci", *self._firmware(),
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        self.wait()

    def _firmware(self) -> list[str]:
        if self._esp is None:
            vmlinuz, initrd = self._kernel
            return [
                "-machine",
                "q35",
                "-kernel",
                str(vmlinuz),
                "-initrd",
                str(initrd),
                "-append",
                _KERNEL_ARGUMENTS,
            ]
        variables = self._folder / "variables.fd"
        if not variables.exists():
            shutil.copy(FIRMWARE.with_name("OVMF_VARS_4M.ms.fd"), variables)
        return [
            "-machine", "q35,smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on",
            "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={FIRMWARE}",
            "-drive", f"if=pflash,unit=1,format=raw,file={variables}",
            "-drive", f"file=fat:{self._esp},if=none,id=esp,format=raw,readonly=on",
            "-device", "virtio-blk-pci,drive=esp,bootindex=1,addr=0x1e",  # after the disk, which is /dev/vda
        ]  # fmt: skip

    def wait(self, limit_s: float = BOOT_LIMIT_S) -> None:
        deadline = time.monotonic() + limit_s
        while self.run("true", timeout_s=60).returncode != 0:
            if time.monotonic() > deadline or self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"SSH to the virtual machine does not work:\n{self.console[-3000:]}")
            time.sleep(2)

    def cut_power(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def link(self, *, on: bool) -> None:
        """Plug the network cable in or out."""
        self.monitor(f"set_link nic0 {'on' if on else 'off'}")

    def monitor(self, command: str) -> None:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self._folder / "monitor"))
            line.recv(4096)
            line.sendall(f"{command}\n".encode())
            time.sleep(0.5)

    def run(self, command: str, *, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a shell command over SSH as the machine's ordinary user; exit code 255 after a timeout."""
        words = [
            "ssh", *SSH_OPTIONS, "-o", "ConnectTimeout=40", "-i", str(self.key),
            "-o", f"UserKnownHostsFile={self.known_hosts}", "-p", str(self.port), f"{base.USER}@127.0.0.1", command,
        ]  # fmt: skip
        try:
            return subprocess.run(
                words,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(words, 255, "", "timed out")

    def inventory(self, folder: Path, **variables: object) -> Path:
        """Write an Ansible inventory with this machine as its host and a long SSH timeout."""
        options = {"ansible_ssh_timeout": 120, **variables}
        return base.inventory(folder, self.name, self.port, self.known_hosts, **options)

    def output(self, command: str, *, timeout_s: float = 300) -> str:
        ended = self.run(command, timeout_s=timeout_s)
        assert ended.returncode == 0, f"{command}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout
