"""Describe what a dry run would change, shortened for the terminal; the log file has every line."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from provision.lock_text import packages

LINES_SHOWN = 24
"""Maximum number of lines shown per file. Longer differences are mostly lists of packages."""

_SHOWN_FIRST = ("state", "mode", "owner", "group", "src")


def describe(result: Mapping[str, Any]) -> str | None:
    """The difference in a task's result, as text; None if the result has no difference."""
    found = result.get("diff")
    parts = [found] if isinstance(found, dict) else found if isinstance(found, list) else []
    lines = [text for part in parts if isinstance(part, dict) for text in _part(part, result)]
    return "\n".join(lines) or None


def _part(part: Mapping[str, Any], result: Mapping[str, Any]) -> Iterator[str]:
    before, after = part.get("before", ""), part.get("after", "")
    if isinstance(part.get("prepared"), str):
        yield from _cut(part["prepared"].strip().splitlines())
    elif isinstance(before, dict) and isinstance(after, dict):
        yield _fields(before, after)
    elif isinstance(before, str) and isinstance(after, str) and before != after:
        yield from _file(_path(part, result), before, after)


def _path(part: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """The path of the file on the box, which Ansible's difference may replace by a temporary file on this machine."""
    call = result.get("invocation")
    call = call if isinstance(call, dict) else {}
    arguments = call.get("module_args")
    for source in (result, call, arguments if isinstance(arguments, dict) else {}):
        for key in ("dest", "path"):
            if isinstance(source.get(key), str):
                return str(source[key])
    return str(part.get("after_header") or part.get("before_header") or "a file")


def _fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Changed attributes of a file, as in "/opt/dlbox: absent -> directory"."""
    keys = [key for key in _SHOWN_FIRST if before.get(key) != after.get(key)]
    keys += [key for key in after if key not in (*_SHOWN_FIRST, "path") and before.get(key) != after[key]]
    changes = (
        f"{'' if key == 'state' else f'{key} '}{_short(before.get(key))} -> {_short(after.get(key))}"
        for key in keys
    )
    return f"{after.get('path') or before.get('path') or 'it'}: {', '.join(changes)}"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _file(path: str, before: str, after: str) -> Iterator[str]:
    old, new = packages(before), packages(after)
    if new and (old or not before):  # a lock file: show versions, not hashes
        yield from _packages(path, old, new)
        return
    how = "would be new" if not before else "would be emptied" if not after else "would change"
    yield f"{path} {how}:"
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2)
    yield from _cut([line for line in lines if not line.startswith(("--- ", "+++ ", "@@ "))])


def _packages(path: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    if not old:
        yield f"{path} would be new, with {len(new)} packages:"
        yield ", ".join(f"{name} {version}" for name, version in new.items())
        return
    lines = [f"+ {name} {version}" for name, version in new.items() if name not in old]
    lines += [f"- {name} {version}" for name, version in old.items() if name not in new]
    lines += [
        f"{name} {old[name]} -> {version}"
        for name, version in new.items()
        if name in old and old[name] != version
    ]
    yield f"{path} would change:"
    yield from _cut(sorted(lines, key=lambda line: re.sub(r"^[+-] ", "", line)) or ["only hashes"])


def _cut(lines: list[str]) -> Iterator[str]:
    yield from lines[:LINES_SHOWN]
    if len(lines) > LINES_SHOWN:
        yield f"... and {len(lines) - LINES_SHOWN} more lines: see the log"
