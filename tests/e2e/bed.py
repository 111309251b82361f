"""One machine to provision: boots in a second on an overlay, answers on SSH, forgets everything on reset.

It shares the network of the computer that runs the tests, so its sshd listens on a free port of 127.0.0.1; or it has
one of its own, which can be cut (network.py). It has its own systemd, its own files and, if asked, its own PCI bus; not
its own kernel.
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
from tests.e2e.network import Network

CARDS = {"GTX 1060": 0x1C03, "RTX 3060": 0x2503, "RTX 5060": 0x2D05, "GTX 970": 0x13C2, "RTX 4060": 0x2882}
"""Cards a bed can pretend to have, and their PCI device ids. Any other id is written as a number: "0x1fff"."""

PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}

_REBOOT = 133
_BOOT_LIMIT_S = 60
SSH_OPTIONS = ("-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Bed:
    """A context manager: booted inside, gone after."""

    def __init__(
        self,
        name: str,
        *,
        suite: str = "bookworm",
        cards: Sequence[str] = (),
        layers: Sequence[Path] = (),
        own_network: bool = False,
    ) -> None:
        """``layers``: what earlier beds wrote (see layers.py), the lowest first, between the base and this one."""
        self.name = name
        self.suite = suite
        self.port = free_port()
        self.key = base.cache() / "id_ed25519"
        self._lower = [*reversed(layers), base.build(suite)]
        self._folder = base.cache() / "beds" / f"{os.getpid()}-{name}"
        self.cards = cards
        self._network = (
            Network(f"dlbox-{self.port}", self._folder / "slirp", self.port) if own_network else None
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def network(self) -> Network:
        """Its own network, where it was asked for one."""
        assert self._network is not None
        return self._network

    @property
    def python(self) -> str:
        """The release of the distribution's own Python."""
        return PYTHONS[self.suite]

    @property
    def root(self) -> Path:
        """The bed's files, seen from outside."""
        return self._folder / "root"

    @property
    def written(self) -> Path:
        """What the bed wrote over its layers, as overlayfs keeps it."""
        return self._folder / "upper"

    @property
    def card_folder(self) -> Path:
        """What is laid over /sys/bus/pci/devices."""
        return self._folder / "pci"

    @property
    def known_hosts(self) -> Path:
        """The host key, as a person who knows the box would have it."""
        return self._folder / "known_hosts"

    def __enter__(self) -> Bed:
        self._lay()
        self.boot()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._clear()

    def reset(self) -> None:
        """A bed as new: what was written since the start is dropped."""
        self.kill()
        self._clear()
        self._lay()
        self.boot()

    def boot(self) -> None:
        """Start it and wait until it answers."""
        command = [
            "systemd-nspawn", "-q", "-D", str(self.root), "--boot", "--register=no", "--keep-unit",
            "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=pipe",
            *([f"--network-namespace-path={self._network.namespace}"] if self._network else []),
            *([f"--bind-ro={self._folder / 'pci'}:/sys/bus/pci/devices"] if self.cards else []),
        ]  # fmt: skip
        # Exit code 133 is how a container asks to be started again: a reboot.
        again = f'while "$@"; [ $? -eq {_REBOOT} ]; do :; done'
        with (self._folder / "console.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", again, "sh", *command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.wait()

    def wait(self, limit_s: float = _BOOT_LIMIT_S) -> None:
        """Until it answers on SSH."""
        deadline = time.monotonic() + limit_s
        while self.run("true").returncode != 0:
            if time.monotonic() > deadline or self._process is None or self._process.poll() is not None:
                tail = (self._folder / "console.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"the bed {self.name} does not answer:\n{tail}")
            time.sleep(0.2)

    def kill(self) -> None:
        """A power cut."""
        if self._process is not None:
            every: list[psutil.Process] = []
            with contextlib.suppress(psutil.NoSuchProcess):
                own = psutil.Process(self._process.pid)
                every = [own, *own.children(recursive=True)]
            for process in every:  # the loop that starts it again first, its init then takes all others along
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.wait()
            psutil.wait_procs(every, timeout=10)
            self._process = None

    def halt(self) -> None:
        """A shutdown as systemd does it, so that everything is written."""
        self.run("sudo systemctl poweroff")
        if self._process is not None:
            self._process.wait(timeout=_BOOT_LIMIT_S)
        self.kill()

    def run(self, command: str, *, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """A shell command on the bed, as its ordinary user, over SSH."""
        return subprocess.run(
            ["ssh", *SSH_OPTIONS, "-o", "ConnectTimeout=5", "-i", str(self.key),
             "-o", f"UserKnownHostsFile={self.known_hosts}", "-p", str(self.port), f"{base.USER}@127.0.0.1", command],
            capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def output(self, command: str, *, timeout_s: float = 60) -> str:
        """What a command that must succeed prints."""
        ended = self.run(command, timeout_s=timeout_s)
        assert ended.returncode == 0, f"{command}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    def inventory(self, folder: Path, **variables: object) -> Path:
        """An Ansible inventory that names this bed."""
        return base.inventory(folder, self.name, self.port, self.known_hosts, **variables)

    def _lay(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        for part in ("root", "upper", "work"):
            (self._folder / part).mkdir(parents=True)
        lower = ":".join(map(str, self._lower))
        layers = f"lowerdir={lower},upperdir={self.written},workdir={self._folder / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, str(self.root)], check=True)
        address = "0.0.0.0" if self._network else "127.0.0.1"  # noqa: S104 - in a network of its own
        sshd = f"Port {self.port}\nListenAddress {address}\nUseDNS no\n"
        (self.root / "etc/ssh/sshd_config.d/bed.conf").write_text(sshd)
        # Debian 13's user manager does not end in a container, and the next login waits for it for two minutes.
        logind = self.root / "etc/systemd/logind.conf.d/bed.conf"
        logind.parent.mkdir(exist_ok=True)
        logind.write_text("[Login]\nUserStopDelaySec=infinity\n")
        if self._network:
            self._network.start()
            (self.root / "etc/resolv.conf").write_text(f"nameserver {self._network.resolver}\n")
        else:
            shutil.copy("/etc/resolv.conf", self.root / "etc/resolv.conf")
        (self.root / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {base.USER}-bed\n")
        public = (self.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2]
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {' '.join(public)}\n")
        for slot, card in enumerate(self.cards, start=1):
            device = CARDS[card] if card in CARDS else int(card, 16)
            _plug(self._folder / "pci" / f"0000:{slot:02x}:00.0", device)

    def _clear(self) -> None:
        if self._network:
            self._network.stop()
        for options in ([], [], [], ["--lazy"]):  # what held it may take a moment to go
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
    """A display function as sysfs shows it: enough for lspci and for dlbox."""
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
