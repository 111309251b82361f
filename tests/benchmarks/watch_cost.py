"""CPU time of `dlbox watch` in a terminal of 80 columns: ``python tests/benchmarks/watch_cost.py``."""

import contextlib
import fcntl
import os
import pty
import resource
import struct
import subprocess
import sys
import termios
import threading

SECONDS = 60


def drain(terminal: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(terminal, 65536):
            pass


def cpu_seconds(slave: int, count: int) -> float:
    """User and system time of `dlbox watch` and its child processes for ``count`` readings."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-P", "-m", "dlbox", "watch", "--interval", "1", "--count", str(count)],
        stdin=slave, stdout=slave, stderr=slave, env={**os.environ, "TERM": "xterm"}, check=True,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    threading.Thread(target=drain, args=(master,), daemon=True).start()
    start, longer = cpu_seconds(slave, 1), cpu_seconds(slave, 1 + SECONDS)
    print(f"start {start:.2f} s, {SECONDS} further readings {longer - start:.2f} s")
