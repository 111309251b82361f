"""A separate network for one container, which a test can cut: slirp4netns in a network namespace."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
from pathlib import Path


class NetworkNamespace:
    """The namespace of one container: access to the internet, and a port of 127.0.0.1 forwarded to its sshd."""

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
        api_socket = self._folder / "api"
        with (self._folder / "log").open("ab") as log:
            self._slirp = subprocess.Popen(
                ["slirp4netns", "--configure", "--mtu=1500", "--netns-type=path", f"--api-socket={api_socket}",
                 str(self.namespace), "tap0"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        forward = {
            "proto": "tcp",
            "host_addr": "127.0.0.1",
            "host_port": self._port,
            "guest_port": self._port,
        }
        _ask(api_socket, {"execute": "add_hostfwd", "arguments": forward})

    def cut(self) -> None:
        """Drop all traffic without closing any connection, like a pulled cable."""
        self._ip("link", "set", "tap0", "down")

    def cut_internet(self) -> None:
        """Leave the controller's connection; the container reaches neither archive nor package index."""
        self._ip("route", "del", "default")

    def restore(self) -> None:
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


def _ask(api_socket: Path, question: dict[str, object]) -> None:
    deadline = time.monotonic() + 10
    while True:
        with socket.socket(socket.AF_UNIX) as line:
            try:
                line.connect(str(api_socket))
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
