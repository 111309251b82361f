"""Lock files with hashes, made on the controller for one box's plan: what pip may install there, and nothing else."""

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
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import platformdirs

from common.child import environment
from common.guard import prefix
from provision.ansible.clean_text import plain
from provision.hosts.network import PLAIN, Network

PLATFORM = "x86_64-manylinux_2_28"
DAYS_KEPT = 7
_LIMIT_S = 300
_UNREACHED = re.compile(
    r"error sending request|tunnel error|dns error|client error \(Connect\)|Failed to establish a new connection"
)
_PACKAGE = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)")


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

    ``over``: the lock file of an environment that is seen as well. Its versions hold here too, and what it
    has is left out. ``network``: how the package index is reached. Answers are kept for some days in the
    user's cache. Raises LockError.
    """
    held = [f"{name}=={version}" for name, version in packages(over).items()]
    place = _place(tuple(requirements), python, tuple(constraints), index, over, *network.question())
    text = _kept(place)
    if text is None:
        text = _resolved(requirements, python, [*constraints, *held], index, network)
        _keep(place, text)
    return _without(text, packages(over))


def _resolved(
    requirements: Sequence[str], python: str, held: Sequence[str], index: str | None, network: Network
) -> str:
    with tempfile.TemporaryDirectory(prefix=prefix()) as temporary:
        folder = Path(temporary)
        wanted, limits = folder / "requirements.in", folder / "constraints.txt"
        wanted.write_text("".join(f"{line}\n" for line in requirements), encoding="utf-8")
        limits.write_text("".join(f"{line}\n" for line in held), encoding="utf-8")
        return _resolve(wanted, limits, python, index, network.environment(folder))


def _place(*question: object) -> Path:
    """Where the answer to this question is kept."""
    digest = hashlib.sha256(repr(question).encode()).hexdigest()[:24]
    return platformdirs.user_cache_path("dlbox") / "locks" / f"{digest}.txt"


def _kept(place: Path) -> str | None:
    """The answer of the last days: a second run finds the same versions, and asks no index."""
    try:
        if time.time() - place.stat().st_mtime > 86400 * DAYS_KEPT:
            return None
        text = place.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    return text if packages(text) else None


def _keep(place: Path, text: str) -> None:
    with contextlib.suppress(OSError):  # a full or read-only disk costs time, nothing else
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f"{place.name}.{os.getpid()}")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(place)


def packages(text: str) -> dict[str, str]:
    """Name -> version of a lock file's packages."""
    found = (_PACKAGE.match(line) for line in text.splitlines())
    return {match.group(1): match.group(2) for match in found if match}


def _resolve(wanted: Path, limits: Path, python: str, index: str | None, told: Mapping[str, str]) -> str:
    """uv resolves for any Python; pip only for its own, but it reads pip.conf and PIP_*, as company networks need.

    ``told``: environment variables about the network, which may hold the password of an index.
    """
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    same = python == f"{sys.version_info.major}.{sys.version_info.minor}"
    if uv is None and not same:
        raise LockError(
            f"the box has Python {python}, and versions for another Python than this machine's are resolved with uv: "
            "install it (`pipx install uv`), then run the same command"
        )
    if uv is not None:
        try:
            return _with_uv(uv, wanted, limits, python, index, told)
        except LockError:
            if not same:
                raise
    return _with_pip(wanted, limits, index, told)


def _with_uv(
    uv: str, wanted: Path, limits: Path, python: str, index: str | None, told: Mapping[str, str]
) -> str:
    # This interpreter runs nothing here; named, none is looked for: trying pyenv's shims took seconds a lock file.
    command = [
        uv, "pip", "compile", str(wanted), "--quiet", "--constraints", str(limits),
        "--python", sys.executable, "--python-version", python,
        "--python-platform", PLATFORM, "--generate-hashes", "--no-header", "--no-annotate",
        "--no-emit-index-url", "--no-emit-find-links",
    ]  # fmt: skip
    return _output([*command, *(["--extra-index-url", index] if index else [])], told)


def _with_pip(wanted: Path, limits: Path, index: str | None, told: Mapping[str, str]) -> str:
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-",
        "--only-binary", ":all:", "-r", str(wanted), "-c", str(limits),
    ]  # fmt: skip
    report = json.loads(_output([*command, *(["--extra-index-url", index] if index else [])], told))
    lines = []
    for item in report["install"]:
        sums = item["download_info"].get("archive_info", {}).get("hashes", {})
        name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
        lines.append(f"{name}=={item['metadata']['version']} --hash=sha256:{sums['sha256']}\n")
    return "".join(sorted(lines))


def _output(command: list[str], told: Mapping[str, str]) -> str:
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=_LIMIT_S, check=False, stdin=subprocess.DEVNULL,
            env=environment({**os.environ, **told}),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise LockError(f"the package index did not answer in {_LIMIT_S} s: check the network") from None
    if ended.returncode != 0:
        reason = _reason(ended.stderr)
        if _UNREACHED.search(reason):
            raise LockError(
                f"the package index cannot be reached from this machine ({reason[-160:]}): check its network and, "
                "behind a proxy, the inventory's `proxy`, then run the same command again"
            )
        raise LockError(f"the versions of the plan do not resolve: {reason}")
    return ended.stdout


def _reason(text: str) -> str:
    """One line, without the password that an index's address may carry."""
    text = plain(text)
    words = " ".join(text.replace("\u2570\u2500\u25b6", " ").split()) or "no reason was given"
    return words if len(words) < 400 else f"{words[:400]}..."


def _without(text: str, left_out: Iterable[str]) -> str:
    """The lock file without these packages and their hashes."""
    names = set(left_out)
    kept, skipping = [], False
    for line in text.splitlines(keepends=True):
        match = _PACKAGE.match(line)
        if match:
            skipping = match.group(1) in names
        if not skipping:
            kept.append(line)
    return "".join(kept)
