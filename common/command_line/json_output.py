"""The envelope of every ``--json`` document: its first keys are ``schema_version`` and ``command``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

SCHEMA_VERSION = 1
"""Version of every document that ``--json`` prints. It rises when a key is removed or changes its meaning."""


def envelope(command: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``content``, preceded by the two keys of the envelope."""
    return {"schema_version": SCHEMA_VERSION, "command": command, **content}


def print_json(command: str, content: Mapping[str, Any]) -> None:
    """Print one document on stdout."""
    sys.stdout.write(json.dumps(envelope(command, content), indent=2) + "\n")
