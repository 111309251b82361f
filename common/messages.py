"""One-sentence messages on stderr."""

from __future__ import annotations

from collections.abc import Callable

import click

Complain = Callable[[str], None]
"""Prints one sentence on stderr."""


def complain(sentence: str) -> None:
    """Print "dlbox: SENTENCE" on stderr."""
    click.echo(f"dlbox: {sentence}", err=True)
