"""The envelope that every ``--json`` document has: ``schema_version`` and ``command`` first."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

SCHEMA_VERSION = 1
"""Of every document that ``--json`` prints. It rises when a key is removed or its meaning changes."""


def envelope(command: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """``content`` behind the two keys that every document has."""
    return {"schema_version": SCHEMA_VERSION, "command": command, **content}


def print_json(command: str, content: Mapping[str, Any]) -> None:
    """One document on stdout."""
    sys.stdout.write(json.dumps(envelope(command, content), indent=2) + "\n")
