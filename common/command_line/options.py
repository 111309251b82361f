"""Click options that the commands of several packages share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from common.command_line.click_types import NamedPath

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")


def report_option(help: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # noqa: A002 - click's name
    """The option --from: a report about another computer, or "-" for stdin."""
    return click.option(
        "--from", "from_path", type=NamedPath(path_type=Path, allow_dash=True), metavar="PATH", help=help
    )
