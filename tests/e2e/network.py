"""A network of a bed's own, which can be cut without touching anybody else's: slirp4netns in a namespace."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
from pathlib import Path


class Network:
    """The namespace of one bed: its way out, and a port of 127.0.0.1 that leads to its sshd."""

    resolver = "10.0.2.3"

    def __init__(self, name: str, folder: Path, port: int) -> None:
        self._name, self._folder, self._port = name, folder, port
        self._slirp: subprocess.Popen[bytes] | None = None

    @property
    def namespace(self) -> Path:
        return Path("/run/netns") / self._name

    def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["ip", "netns", "add", self._name], check=True)
        self._ip("link", "set", "lo", "up")
        door = self._folder / "api"
        with (self._folder / "log").open("ab") as log:
            self._slirp = subprocess.Popen(
                ["slirp4netns", "--configure", "--mtu=1500", "--netns-type=path", f"--api-socket={door}",
                 str(self.namespace), "tap0"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        way_in = {"proto": "tcp", "host_addr": "127.0.0.1", "host_port": self._port, "guest_port": self._port}
        _ask(door, {"execute": "add_hostfwd", "arguments": way_in})

    def cut(self) -> None:
        """The cable is out: nothing comes in, nothing goes out, no connection is told."""
        self._ip("link", "set", "tap0", "down")

    def cut_off_the_world(self) -> None:
        """The controller still reaches the box; the box reaches neither archive nor package index."""
        self._ip("route", "del", "default")

    def mend(self) -> None:
        self._ip("link", "set", "tap0", "up")
        with contextlib.suppress(subprocess.CalledProcessError):
            self._ip("route", "add", "default", "via", "10.0.2.2")

    def stop(self) -> None:
        if self._slirp is not None:
            self._slirp.terminate()
            self._slirp.wait()
            self._slirp = None
            subprocess.run(["ip", "netns", "del", self._name], check=True)

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", "-n", self._name, *words], check=True, capture_output=True)


def _ask(door: Path, question: dict[str, object]) -> None:
    deadline = time.monotonic() + 10
    while True:
        with socket.socket(socket.AF_UNIX) as line:
            try:
                line.connect(str(door))
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
                continue
            line.sendall(json.dumps(question).encode())
            line.shutdown(socket.SHUT_WR)
            answer = json.loads(line.recv(4096))
        assert "error" not in answer, answer
        return
