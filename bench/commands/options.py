"""Click options that several commands of bench share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from common.backends import BACKENDS
from common.command_line.click_types import FiniteNumber, Folder, WholeNumber
from common.command_line.options import json_option

Callback = Callable[..., Any]
Decorator = Callable[[Callback], Callback]

expect_gpus_option = click.option(
    "--expect-gpus", type=WholeNumber(0), metavar="N", help="Fail if fewer NVIDIA cards are found."
)
workload_option = click.option(
    "--workload",
    "workloads",
    multiple=True,
    metavar="NAME",
    help="Train only this model (lstm, gru, cnn, ...); may be repeated.",
)


workload_filter_option = click.option(
    "--workload", "workloads", multiple=True, metavar="NAME", help="Only this model; may be repeated."
)

wait_for_quiet_option = click.option(
    "--wait-for-quiet",
    type=FiniteNumber(0, 24 * 60, min_open=True),
    metavar="MINUTES",
    help="If other programs keep the processor busy, wait at most this long for them before training.",
)


def suite_option(default: str) -> Decorator:
    """The option that selects a set of models."""
    return click.option(
        "--suite",
        type=click.Choice(["ready", "workshop", "full"]),
        default=default,
        show_default=True,
        help="Train three models, all twelve of the workshop, or these and the variants of the class scripts.",
    )


def measurement_options(command: Callback) -> Callback:
    """A decorator: the options that `bench` and `ready` share."""
    for option in reversed(
        (
            workload_option,
            suite_option("ready"),
            click.option(
                "--backend",
                type=click.Choice(BACKENDS),
                help="The framework that Keras runs on.  [default: the first of these that is installed]",
            ),
            click.option(
                "--quick/--full",
                default=None,
                help="Run one short process per model, or several long ones.  "
                "[default: --quick for the first `ready` on a machine without a card]",
            ),
            click.option(
                "--seed",
                type=WholeNumber(0, 2**31 - 1),
                default=0,
                show_default=True,
                help="Seed of the generated data and the initial weights.",
            ),
            click.option(
                "--repeats",
                type=WholeNumber(1, 100),
                help="Number of processes per model.  [default: 1 with --quick, 3 for ready, 5 for bench]",
            ),
            wait_for_quiet_option,
            click.option(
                "--batch",
                metavar="SIZE",
                help="Batch size: workshop (32), best (the fastest, found by doubling), both, or a number.  "
                "[default: both for a full `bench`, else workshop]",
            ),
            click.option(
                "--name",
                metavar="TEXT",
                help='A name for the run, shown in the history, as in "after the new fan".',
            ),
            click.option(
                "--build",
                metavar="BUILD",
                help="Parts and prices of this computer, for the price per speed: see `dlbox parts`.",
            ),
            click.option(
                "--output", type=Folder(), help="Folder of the report.  [default: next to the history]"
            ),
            expect_gpus_option,
            json_option,
            click.option(
                "--verbose", is_flag=True, help="Also print the detailed figures of each model and finding."
            ),
        )
    ):
        command = option(command)
    return command
