"""The reference of the health checks, made from the checks themselves: ``python -m tests.checks_page``."""

from __future__ import annotations

import sys

from bench import health
from bench.health.check import Check

_HEAD = """# Health checks

Every health check of `dlbox check`, generated from the checks by `./dlbox regenerate`. `dlbox check --list` prints the
same data, `dlbox check --explain ID` explains one check. Which of them other systems have too:
[other-checkers.md](../evidence/other-checkers.md).

## Statuses

- **pass**: the property was read and is as expected.
- **warn**: the machine works, and something should be corrected. The finding has a remedy.
- **fail**: the machine is NOT READY. The finding has a remedy.
- **skip**: the card, the driver or this kind of machine does not have the property. An NVML function that returns "not
  supported" or is missing in an older driver is a skip, not a fault.
- **unknown**: the property should be readable but is not. The machine is then NOT READY; the finding says how to make
  the property readable.

One fault produces one failing finding: if the driver cannot reach a card, the cause is named once, and all checks that
depend on it are skipped.

## Reliability of the limits

Limits on speed are fractions of the card's own figures. They are based on about twenty published runs and were not
calibrated on cards of this project. The column "source" names the source of each limit. Laptop cards never fail because
of their speed.
"""

_SCOPES = {
    "machine": "once per machine",
    "gpu": "once per card",
    "load": "once per card, under load (`--stress MINUTES`)",
    "frameworks": "once per framework (`--frameworks`)",
}


def page() -> str:
    """The whole page as Markdown."""
    return _HEAD + "".join(_theme(name) for name in health.themes())


def _theme(name: str) -> str:
    lines = [
        "",
        f"## Theme {name}",
        "",
        "| check | what is compared | limit | applies to | source of the limit | remedy |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join(lines + [_row(check) for check in health.checks() if check.theme == name]) + "\n"


def _row(check: Check) -> str:
    applies = f"{check.applies_to}; {_SCOPES[check.scope]}"
    cells = (f"`{check.id}`: {check.title}", check.looks_at, check.limits, applies, check.source, check.fix)
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    sys.stdout.write(page())
