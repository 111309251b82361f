"""Read an archive of `dlbox collect`: the files of the other computer under their own names, and a list of names."""

from __future__ import annotations

import re
from collections.abc import Iterable

from inventory.sources.contents import NamedText
from inventory.sources.parts import COLLECTED, Parts
from inventory.sources.root import Root

_MOST_LINES = 100_000
_VARIABLE = re.compile(r"(?:CUDA|NVIDIA|LD|XLA|TF|JAX)_[A-Z0-9_]{2,40}")
_ROOT = re.compile(r"(?:^|/)root/(.+)$")


def list_of(texts: Iterable[NamedText]) -> NamedText | None:
    """The list of names in ``texts``, or None if they are no archive of `dlbox collect`."""
    return next((text for text in texts if text.text.startswith(COLLECTED)), None)


def restore(texts: list[NamedText], names: NamedText, root: Root, parts: Parts) -> list[NamedText]:
    """Write links, folders, files and node states below ``root``; returns the texts that are outputs of commands."""
    parts.collected = True
    parts.kinds.add("dlbox collect")
    for line in names.text.splitlines()[1:_MOST_LINES]:
        kind, _, rest = line.partition(" ")
        path, _, target = rest.partition(" -> ")
        if kind == "L":
            root.link(path, target)
        elif kind == "LD":
            root.link(path, target, to_folder=True)
        elif kind == "D":
            root.make_folder(path)
        elif kind == "F":
            root.write(path)
        elif kind == "C":
            name, _, usable = rest.rpartition(" ")
            parts.nodes[f"/{name}"] = usable == "rw"
    commands = []
    for text in texts:
        found = _ROOT.search(text.name)
        if text is names:
            continue
        if found is None:
            commands.append(text)
        else:
            _restore_file(found[1], text.text, root)
    _own_outputs(commands, parts)
    return commands


def _restore_file(path: str, text: str, root: Root) -> None:
    if path.endswith(".hex"):  # a small binary file, as "06 00 00 00 01"
        digits = re.sub(r"\s+", "", text)[:4096]
        if re.fullmatch(r"(?:[0-9a-fA-F]{2})*", digits):
            root.write(path.removesuffix(".hex"), bytes.fromhex(digits))
        return
    root.write(path, text)


def _own_outputs(commands: list[NamedText], parts: Parts) -> None:
    """Environment variables and the free space, which only `dlbox collect` writes."""
    for text in commands:
        name = text.name.rpartition("/")[2]
        if name == "environment.txt":
            pairs = (line.partition("=") for line in text.text.splitlines() if "=" in line)
            parts.variables.update({key: value for key, _, value in pairs if _VARIABLE.fullmatch(key)})
            parts.carries.add("host.variables")
        elif name == "df.txt":
            found = re.findall(r"\s(\d+)\s+\d+\s+(\d+)\s+\d+%", text.text)
            if found:
                total, free = (int(number) * 1024 for number in found[-1])
                parts.disk = (total, free)
