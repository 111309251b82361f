"""One-sentence messages on stderr."""

from __future__ import annotations

import click

from common.command_line.exit_codes import Complain
from common.terminal import shown

__all__ = ["Complain", "complain", "print_error"]


def print_error(sentence: str) -> None:
    """Print "dlbox: SENTENCE" on stderr, with long values shortened and control characters escaped."""
    click.echo(f"dlbox: {shown.sentence(sentence)}", err=True)


complain = print_error
"""The former name of ``print_error``."""
