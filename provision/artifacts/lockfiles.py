"""Make lock files with hashes on the controller; the box installs exactly the versions in them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import platformdirs
from packaging.utils import canonicalize_name

from common.file_access.files import write_atomically
from common.processes.child import environment
from common.processes.guard import prefix
from provision.clean_text import plain
from provision.hosts.network import PLAIN, Network
from provision.lock_text import packages, without

PLATFORM = "x86_64-manylinux_2_28"
DAYS_CACHED = 7
_LIMIT_S = 300
_UNREACHABLE = re.compile(
    r"error sending request|tunnel error|dns error|client error \(Connect\)|Failed to establish a new connection"
)


class LockError(RuntimeError):
    """No lock file could be made; the message is one sentence."""


def lock(
    requirements: Sequence[str],
    python: str,
    *,
    constraints: Sequence[str] = (),
    index: str | None = None,
    over: str = "",
    network: Network = PLAIN,
) -> str:
    """The text of a lock file for a Python ("3.11") on Linux.

    ``over``: the lock file of an environment whose packages are also visible in this one; the new lock file uses the
    same versions and omits these packages. ``index``: the URL of a further package index, which the lock file then
    names in its first line for pip and uv. ``network``: the settings for reaching the indexes. Results are cached for
    ``DAYS_CACHED`` days in the user's cache folder.

    Raises LockError, HostError.
    """
    pinned = [f"{name}=={version}" for name, version in packages(over).items()]
    path = _cache_path(tuple(requirements), python, tuple(constraints), index, over, *network.cache_key())
    text = _cached(path)
    if text is None:
        with tempfile.TemporaryDirectory(prefix=prefix()) as temporary:
            folder = Path(temporary)
            question = _Question(
                requirements=folder / "requirements.in",
                constraints=folder / "constraints.txt",
                python=python,
                index=index,
                variables=network.environment(folder),
            )
            _write_lines(question.requirements, requirements)
            _write_lines(question.constraints, [*constraints, *pinned])
            text = _with_index(_resolve(question), index)
        with contextlib.suppress(OSError):  # a full or read-only disk: resolve again next time
            write_atomically(path, text, follow=False)
    return without(text, packages(over))


def _with_index(text: str, index: str | None) -> str:
    """The lock file with the further index that has some of its packages; their hashes still select the files."""
    return f"--extra-index-url {index}\n{text}" if index else text


class _Question(msgspec.Struct, frozen=True, kw_only=True):
    """The input of a resolution by uv or pip, which returns exact package versions as a lock file."""

    requirements: Path
    constraints: Path
    python: str
    index: str | None
    variables: Mapping[str, str]
    """Environment variables with network settings, which may contain the password of an index."""


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _cache_path(*question: object) -> Path:
    """Path of the cached lock file for this input."""
    digest = hashlib.sha256(repr(question).encode()).hexdigest()[:24]
    return platformdirs.user_cache_path("dlbox") / "locks" / f"{digest}.txt"


def _cached(path: Path) -> str | None:
    """A recent and intact lock file from the cache; None if there is none."""
    try:
        if time.time() - path.stat().st_mtime > 86400 * DAYS_CACHED:
            return None
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    return text if packages(text) else None


def _resolve(question: _Question) -> str:
    """Resolve with uv, for any Python version, or with pip, which reads pip.conf but supports its own Python only."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    same = question.python == f"{sys.version_info.major}.{sys.version_info.minor}"
    if uv is None and not same:
        raise LockError(
            f"the box has Python {question.python}, and resolving versions for another Python than this machine's "
            "needs uv: install it (`pipx install uv`), then run the same command"
        )
    if uv is not None:
        try:
            return _with_uv(uv, question)
        except LockError:
            if not same:
                raise
    return _with_pip(question)


def _with_uv(uv: str, question: _Question) -> str:
    # uv would otherwise search for an interpreter, which takes seconds with pyenv's shims. It runs nothing with it.
    command = [
        uv, "pip", "compile", str(question.requirements), "--quiet", "--constraints", str(question.constraints),
        "--python", sys.executable, "--python-version", question.python,
        "--python-platform", PLATFORM, "--generate-hashes", "--no-header", "--no-annotate",
        "--no-emit-index-url", "--no-emit-find-links", *_index_options(question), *_strategy(question),
    ]  # fmt: skip
    return _output(command, question.variables)


def _with_pip(question: _Question) -> str:
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-",
        "--only-binary", ":all:", "-r", str(question.requirements), "-c", str(question.constraints),
        *_index_options(question),
    ]  # fmt: skip
    report = json.loads(_output(command, question.variables))
    lines = []
    for item in report["install"]:
        sums = item["download_info"].get("archive_info", {}).get("hashes", {})
        name = canonicalize_name(item["metadata"]["name"])
        lines.append(f"{name}=={item['metadata']['version']} --hash=sha256:{sums['sha256']}\n")
    return "".join(sorted(lines))


def _index_options(question: _Question) -> list[str]:
    return ["--extra-index-url", question.index] if question.index else []


def _strategy(question: _Question) -> list[str]:
    # As pip does. By default uv would take every package that the further index has from there, in any version.
    return ["--index-strategy", "unsafe-best-match"] if question.index else []


def _output(command: list[str], variables: Mapping[str, str]) -> str:
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=_LIMIT_S, check=False, stdin=subprocess.DEVNULL,
            env=environment({**os.environ, **variables}),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise LockError(f"the package index did not answer in {_LIMIT_S} s: check the network") from None
    if ended.returncode != 0:
        reason = _reason(ended.stderr)
        if _UNREACHABLE.search(reason):
            further = "--extra-index-url" in command
            raise LockError(
                f"the package index cannot be reached from this machine ({reason[-160:]}): check its network and, "
                "behind a proxy, the inventory's `proxy`, then run the same command again"
                + (
                    " (with --pypi-only if this network reaches only PyPI or a mirror of it)"
                    if further
                    else ""
                )
            )
        raise LockError(f"the planned versions cannot be resolved: {reason}")
    return ended.stdout


def _reason(text: str) -> str:
    """``text`` on one line, without the password that the URL of an index may contain."""
    line = " ".join(plain(text).replace("\u2570\u2500\u25b6", " ").split()) or "no reason was given"
    return line if len(line) < 400 else f"{line[:400]}..."
