"""Prints from where apt would install the packages of a driver, as one JSON document; the role preflight runs it.

Arguments: --own NAME for each source file of dlbox below /etc/apt/sources.list.d, then the names of packages.
It needs only the standard library of Python 3.8 or later and apt-cache: no root and no network.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ORIGINS = {"debian": {"Debian"}, "ubuntu": {"Ubuntu", "UbuntuESM", "UbuntuESMApps"}}
"""The names of the distributions' own archives (field Origin); a mirror of an archive has the same name."""
INSTALLED = "/var/lib/dpkg/status"
PREFERRED = 500
"""Priority of a source that apt installs from on its own. Backports and experimental have a lower one."""


def parse_sources(policy: str) -> dict[str, dict[str, str]]:
    """Source as `apt-cache policy` prints it -> the fields of its release: "o" origin, "n" code name, "a" suite."""
    found: dict[str, dict[str, str]] = {}
    fields: dict[str, str] = {}
    for line in policy.splitlines():
        entry = re.match(r" *(-?\d+) (\S.*?)\s*$", line)
        release = re.match(r" +release (.*)$", line)
        if entry and not release:
            fields = found.setdefault(entry.group(2), {})
        elif release:
            # A value may contain a comma, as in "l=NVIDIA, CUDA": it continues up to the next "x=".
            for key, value in re.findall(r"(\w)=((?:(?!,\w=).)*)", release.group(1)):
                fields[key] = value.strip()
        elif line and not line.startswith(" "):
            fields = {}
    return found


def parse_candidates(policy: str) -> dict[str, dict[str, Any]]:
    """Package -> the version that apt would install, its priority and the sources that have this version."""
    found: dict[str, dict[str, Any]] = {}
    name, wanted, current = "", "", ""
    for line in policy.splitlines():
        package = re.match(r"(\S+):$", line)
        candidate = re.match(r"  Candidate: (\S+)\s*$", line)
        version = re.match(r" (?:\*\*\*|   ) (\S+)(?: (-?\d+))?(?: \(.*\))?\s*$", line)
        source = re.match(r" {8,}(-?\d+) (\S.*?)\s*$", line)
        if package:
            name, wanted, current = package.group(1), "", ""
        elif candidate:
            wanted = candidate.group(1)
        elif source:
            if current == wanted and name in found:
                found[name]["sources"].append(source.group(2))
                found[name]["priority"] = max(found[name]["priority"], int(source.group(1)))
        elif version:
            current = version.group(1)
            if name and current == wanted and name not in found:
                found[name] = {"version": wanted, "priority": int(version.group(2) or 0), "sources": []}
    return found


def is_own(
    source: str, sources: dict[str, dict[str, str]], identity: dict[str, str], uris: list[str]
) -> bool:
    """Whether a source is the archive of this release, a mirror of it, or a source that dlbox configured."""
    if any(source.startswith(uri) for uri in uris):
        return True
    fields = sources.get(source, {})
    release = fields.get("n") or fields.get("a", "")
    codename = identity.get("VERSION_CODENAME", "")
    same_release = bool(codename) and (release == codename or release.startswith(codename + "-"))
    return fields.get("o") in ORIGINS.get(identity.get("ID", ""), set()) and same_release


def foreign(
    candidates: dict[str, dict[str, Any]],
    sources: dict[str, dict[str, str]],
    identity: dict[str, str],
    uris: list[str],
) -> list[dict[str, Any]]:
    """The packages that apt would install from a source that is not the distribution's and not dlbox's."""
    found = []
    for name, entry in sorted(candidates.items()):
        places = [source for source in entry["sources"] if source != INSTALLED]
        if (
            not places
            or entry["priority"] < PREFERRED
            or any(is_own(s, sources, identity, uris) for s in places)
        ):
            continue
        origin = sources.get(places[0], {}).get("o", "")
        found.append({"package": name, "version": entry["version"], "source": places[0], "origin": origin})
    return found


def identity_of(root: Path) -> dict[str, str]:
    """The fields of os-release."""
    found = {}
    for path in (root / "etc/os-release", root / "usr/lib/os-release"):
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            key, _, value = line.partition("=")
            found[key.strip()] = value.strip().strip("\"'")
        break
    return found


def source_files(root: Path) -> dict[str, str]:
    """Path of each source file of apt -> its text."""
    found = {}
    folder = root / "etc/apt/sources.list.d"
    listed = sorted(folder.iterdir()) if folder.is_dir() else []
    for path in [root / "etc/apt/sources.list", *listed]:
        if path.suffix in (".list", ".sources"):
            try:
                found["/" + str(path.relative_to(root))] = path.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
    return found


def own_uris(files: dict[str, str], own: list[str]) -> list[str]:
    """The addresses in the source files of dlbox."""
    texts = [text for path, text in files.items() if path.rpartition("/")[2] in own]
    return [
        uri.rstrip("/") for text in texts for uri in re.findall(r"\b(?:https?|file|copy|mirror)://?\S+", text)
    ]


def file_of(source: str, files: dict[str, str]) -> str:
    """The file that configures a source; empty if no file contains its address."""
    uri = source.split(" ")[0].rstrip("/")
    return next((path for path, text in files.items() if uri and uri in text), "")


def ask(*words: str) -> str:
    """The answer of `apt-cache policy` in English; empty if apt-cache does not run."""
    environment = {**os.environ, "LC_ALL": "C", "LANG": "C", "LANGUAGE": "C"}
    try:
        done = subprocess.run(
            ["apt-cache", "policy", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
            timeout=60, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace")


def read(root: Path, names: list[str], own: list[str]) -> dict[str, Any]:
    """The whole document. ``known`` is false where apt has no package lists, and ``foreign`` then says nothing.

    ``sources`` are those with a package list; a source that was added since the last update has none.
    """
    sources = parse_sources(ask())
    files = source_files(root)
    known = any(source != INSTALLED for source in sources)
    candidates = parse_candidates(ask("--", *names)) if known and names else {}
    found = foreign(candidates, sources, identity_of(root), own_uris(files, own))
    for entry in found:
        entry["file"] = file_of(entry["source"], files)
        entry["text"] = sentence(entry)
    return {
        "known": known,
        "foreign": found,
        "sources": [source for source in sources if source != INSTALLED],
    }


def sentence(entry: dict[str, Any]) -> str:
    """ "nvidia-driver-580 580.95 would come from http://... (LP-PPA-graphics-drivers), configured in /etc/apt/..."."""
    origin = " ({})".format(entry["origin"]) if entry["origin"] else ""
    file = ", configured in {}".format(entry["file"]) if entry["file"] else ""
    return "{} {} would come from {}{}{}".format(
        entry["package"], entry["version"], entry["source"].split(" ")[0], origin, file
    )


def main(arguments: list[str]) -> None:
    """Print the document for the packages and source files that the arguments name."""
    own = [arguments[i + 1] for i, word in enumerate(arguments[:-1]) if word == "--own"]
    names = [
        word
        for i, word in enumerate(arguments)
        if not word.startswith("-") and arguments[i - 1 : i] != ["--own"]
    ]
    json.dump(read(Path("/"), names, own), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
