"""One-sentence messages on stderr."""

from __future__ import annotations

import click

from common.terminal import shown


def print_error(sentence: str) -> None:
    """Print "dlbox: SENTENCE" on stderr, with long values shortened and control characters escaped."""
    click.echo(f"dlbox: {shown.sentence(sentence)}", err=True)
