"""A test machine in a systemd-nspawn container: boots in a second on an overlay, has SSH, can be reset.

It uses the host's network, with its sshd on a free port of 127.0.0.1, or a network of its own that can be cut
(network.py). It has its own systemd, its own files and, if requested, its own PCI bus, but not its own kernel.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import psutil

from tests.e2e import base
from tests.e2e.network import NetworkNamespace

CARDS = {"GTX 1060": 0x1C03, "RTX 3060": 0x2503, "RTX 5060": 0x2D05, "GTX 970": 0x13C2, "RTX 4060": 0x2882}
"""Cards that can appear on a container's PCI bus, and their device ids. Write any other id as a number: "0x1fff"."""

PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}

_REBOOT = 133
_BOOT_LIMIT_S = 60
SSH_OPTIONS = ("-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Container:
    """A context manager: booted on entry, removed on exit."""

    def __init__(
        self,
        name: str,
        *,
        suite: str = "bookworm",
        cards: Sequence[str] = (),
        layers: Sequence[Path] = (),
        own_network: bool = False,
    ) -> None:
        """``layers``: folders that earlier containers wrote (see layers.py), the lowest first, on top of the base."""
        self.name = name
        self.suite = suite
        self.port = free_port()
        self.key = base.cache() / "id_ed25519"
        self._lower = [*reversed(layers), base.build(suite)]
        self._folder = base.cache() / "containers" / f"{os.getpid()}-{name}"
        self.cards = cards
        self._network = (
            NetworkNamespace(f"dlbox-{self.port}", self._folder / "slirp", self.port) if own_network else None
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def network(self) -> NetworkNamespace:
        """Its own network; only with ``own_network``."""
        assert self._network is not None
        return self._network

    @property
    def python(self) -> str:
        """The release of the distribution's own Python."""
        return PYTHONS[self.suite]

    @property
    def root(self) -> Path:
        """The container's root file system on the host."""
        return self._folder / "root"

    @property
    def written(self) -> Path:
        """The overlay's upper folder: what the container wrote."""
        return self._folder / "upper"

    @property
    def card_folder(self) -> Path:
        """The folder that is mounted over /sys/bus/pci/devices."""
        return self._folder / "pci"

    @property
    def known_hosts(self) -> Path:
        """A known_hosts file with the container's host key."""
        return self._folder / "known_hosts"

    def __enter__(self) -> Container:
        self._lay()
        self.boot()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._clear()

    def reset(self) -> None:
        """Drop everything that was written since the start, and boot again."""
        self.kill()
        self._clear()
        self._lay()
        self.boot()

    def boot(self) -> None:
        """Start the container and wait for SSH."""
        command = [
            "systemd-nspawn", "-q", "-D", str(self.root), "--boot", "--register=no", "--keep-unit",
            "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=pipe",
            *([f"--network-namespace-path={self._network.namespace}"] if self._network else []),
            *([f"--bind-ro={self._folder / 'pci'}:/sys/bus/pci/devices"] if self.cards else []),
        ]  # fmt: skip
        # systemd-nspawn exits with 133 when the container reboots.
        again = f'while "$@"; [ $? -eq {_REBOOT} ]; do :; done'
        with (self._folder / "console.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", again, "sh", *command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.wait()

    def wait(self, limit_s: float = _BOOT_LIMIT_S) -> None:
        """Wait until SSH works."""
        deadline = time.monotonic() + limit_s
        while self.run("true").returncode != 0:
            if time.monotonic() > deadline or self._process is None or self._process.poll() is not None:
                tail = (self._folder / "console.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"SSH to the container {self.name} does not work:\n{tail}")
            time.sleep(0.2)

    def kill(self) -> None:
        """Kill all its processes at once, like a power cut."""
        if self._process is not None:
            every: list[psutil.Process] = []
            with contextlib.suppress(psutil.NoSuchProcess):
                own = psutil.Process(self._process.pid)
                every = [own, *own.children(recursive=True)]
            for (
                process
            ) in every:  # first the loop that would restart it; killing its init ends all other processes
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.wait()
            psutil.wait_procs(every, timeout=10)
            self._process = None

    def halt(self) -> None:
        """Shut down through systemd, so that all files are written."""
        self.run("sudo systemctl poweroff")
        if self._process is not None:
            self._process.wait(timeout=_BOOT_LIMIT_S)
        self.kill()

    def run(self, command: str, *, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a shell command in the container over SSH, as its ordinary user."""
        return subprocess.run(
            ["ssh", *SSH_OPTIONS, "-o", "ConnectTimeout=5", "-i", str(self.key),
             "-o", f"UserKnownHostsFile={self.known_hosts}", "-p", str(self.port), f"{base.USER}@127.0.0.1", command],
            capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def output(self, command: str, *, timeout_s: float = 60) -> str:
        """The output of a command that must succeed."""
        ended = self.run(command, timeout_s=timeout_s)
        assert ended.returncode == 0, f"{command}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    def inventory(self, folder: Path, **variables: object) -> Path:
        """Write an Ansible inventory with this container as its host."""
        return base.inventory(folder, self.name, self.port, self.known_hosts, **variables)

    def _lay(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        for part in ("root", "upper", "work"):
            (self._folder / part).mkdir(parents=True)
        lower = ":".join(map(str, self._lower))
        layers = f"lowerdir={lower},upperdir={self.written},workdir={self._folder / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, str(self.root)], check=True)
        address = "0.0.0.0" if self._network else "127.0.0.1"  # noqa: S104 - in its own network
        sshd = f"Port {self.port}\nListenAddress {address}\nUseDNS no\n"
        (self.root / "etc/ssh/sshd_config.d/dlbox-test.conf").write_text(sshd)
        # Debian 13's user manager does not stop in a container, and the next login would wait two minutes for it.
        logind = self.root / "etc/systemd/logind.conf.d/dlbox-test.conf"
        logind.parent.mkdir(exist_ok=True)
        logind.write_text("[Login]\nUserStopDelaySec=infinity\n")
        if self._network:
            self._network.start()
            (self.root / "etc/resolv.conf").write_text(f"nameserver {self._network.resolver}\n")
        else:
            shutil.copy("/etc/resolv.conf", self.root / "etc/resolv.conf")
        (self.root / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {base.USER}-test\n")
        public = (self.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2]
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {' '.join(public)}\n")
        for slot, card in enumerate(self.cards, start=1):
            device = CARDS[card] if card in CARDS else int(card, 16)
            _plug(self._folder / "pci" / f"0000:{slot:02x}:00.0", device)

    def _clear(self) -> None:
        if self._network:
            self._network.stop()
        for options in ([], [], [], ["--lazy"]):  # processes that use it may take a moment to end
            if (
                subprocess.run(
                    ["umount", *options, str(self.root)], capture_output=True, check=False
                ).returncode
                == 0
            ):
                break
            time.sleep(1)
        shutil.rmtree(self._folder, ignore_errors=True)


def _plug(folder: Path, device: int) -> None:
    """Write a PCI display device as in sysfs, complete enough for lspci and dlbox."""
    folder.mkdir(parents=True)
    (folder / "vendor").write_text("0x10de\n")
    (folder / "device").write_text(f"{device:#06x}\n")
    (folder / "class").write_text("0x030000\n")
    (folder / "subsystem_vendor").write_text("0x1043\n")
    (folder / "subsystem_device").write_text("0x85ac\n")
    (folder / "irq").write_text("16\n")
    (folder / "resource").write_text("0x0000000000000000 0x0000000000000000 0x0000000000000000\n" * 7)
    (folder / "modalias").write_text(f"pci:v000010DEd{device:08X}sv00001043sd000085ACbc03sc00i00\n")
    config = bytearray(256)
    config[0:4] = (0x10DE).to_bytes(2, "little") + device.to_bytes(2, "little")
    config[8:12] = b"\xa1\x00\x00\x03"
    config[0x2C:0x30] = (0x1043).to_bytes(2, "little") + (0x85AC).to_bytes(2, "little")
    (folder / "config").write_bytes(bytes(config))
