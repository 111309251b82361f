"""Which phase a long installation is in, from the list of processes on the box."""

from __future__ import annotations

import re

COMMAND = ("ps", "-e", "-o", "args=")
"""Prints one line per process of a box."""

_PHASES = (
    (
        "compiling",
        re.compile(r"^\S*(?:/cc1plus|/cc1|\bdkms|/nvcc|gcc(?:-\d+)?|modpost|make)(?:\s|$)|/usr/sbin/dkms"),
    ),
    ("building the initramfs", re.compile(r"update-initramfs|mkinitramfs")),
    ("configuring", re.compile(r"dpkg\b.* --configure|/var/lib/dpkg/info/\S+\.postinst")),
    ("unpacking", re.compile(r"dpkg\b.* --unpack|^dpkg-deb |apt-extracttemplates|dpkg-preconfigure")),
    ("removing", re.compile(r"dpkg\b.* --(?:remove|purge)\b")),
    (
        "downloading",
        re.compile(
            r"^/usr/lib/apt/methods/(?:http|https|ftp|mirror)\b|/uv pip install|pip install|uv python install"
        ),
    ),
    ("training", re.compile(r"/dlbox ready\b")),
)
"""The phases of an installation, the last one first: child processes of an earlier phase often still run in a later
one."""


def phase(processes: str) -> str:
    """The phase of an installation, such as "unpacking", from the output of ``COMMAND``; "" if there is none."""
    lines = [line.strip() for line in processes.splitlines()]
    return next((name for name, pattern in _PHASES if any(pattern.search(line) for line in lines)), "")
