"""Check the names of hosts and groups in an inventory, so that Ansible and dlbox see the same hosts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from common.file_access.yaml_values import Lined
from provision.clean_text import shown

_NAME = re.compile(r"\w[\w.@+:%-]{0,252}")
_WITH_PORT = re.compile(r"([^:\[\]]*(?:\[[^\[\]]+\][^:\[\]]*)*):[0-9]{1,5}")


class NameRefusedError(ValueError):
    """A name is not allowed; the message is one clause that quotes it."""


def without_port(pattern: str) -> str:
    """ "desk:2222" -> "desk" and "[fe80::1]:22" -> "fe80::1": Ansible reads the number as the SSH port."""
    match = _WITH_PORT.fullmatch(pattern)
    if match is None or not match[1]:
        return pattern
    return match[1].strip("[]") if "::" in match[1] or match[1].count(":") > 2 else match[1]


def check_text(key: object, what: str, mapping: Mapping[Any, Any]) -> str:
    """Return the key of ``mapping`` if it is text. Ansible drops hosts with other keys, some without an error.

    ``what``: "host" or "group". Raises NameRefusedError.
    """
    if isinstance(key, str):
        return key
    written = _written(key, mapping)
    kind = {bool: "true or false", int: "a number", float: "a number", type(None): "empty"}.get(
        type(key), "not text"
    )
    raise NameRefusedError(
        f'the name of the {what} {shown(written)} is {kind} in YAML: write it in quotes, as in "{shown(written)}":'
    )


def line_of(key: object, mapping: Mapping[Any, Any]) -> int | None:
    """The line of the key; None if the mapping has no line numbers."""
    return mapping.lines.get(key) if isinstance(mapping, Lined) else None


def check_name(name: str) -> str:
    """Check a host's name after its ranges and its port were removed. Raises NameRefusedError."""
    if _NAME.fullmatch(name):
        return name
    raise NameRefusedError(
        f'"{shown(name)}" is not a host name: expected letters, digits, "." "_" "-" "@" "+" ":" and "%", '
        "starting with a letter or digit, at most 253 characters"
    )


def _written(key: object, mapping: Mapping[Any, Any]) -> str:
    """The key as it is written in the file, such as `off` for False."""
    return mapping.texts.get(key, str(key)) if isinstance(mapping, Lined) else str(key)
