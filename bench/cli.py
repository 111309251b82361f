"""The click commands of bench, imported when one of them is used. Each callback imports the modules it needs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from bench.commands import export
from bench.commands.export import export_options, option_names
from bench.commands.options import (
    expect_gpus_option,
    measurement_options,
    suite_option,
    wait_for_quiet_option,
    workload_filter_option,
    workload_option,
)
from common.backends import BACKENDS
from common.command_line.click_types import FiniteNumber, Folder, NamedPath, WholeNumber
from common.command_line.grouped_command import GroupedCommand
from common.command_line.messages import print_error
from common.command_line.options import json_option, report_option
from common.terminal import shown

_HISTORY_FILE = NamedPath(path_type=Path, dir_okay=False, allow_dash=True)

_TRAINING_GROUPS = {
    "What to train": ("--workload", "--suite", "--backend", "--batch", "--devices", "--tuned", "--seed"),
    "How long": ("--quick", "--repeats", "--wait-for-quiet"),
    "Keep and compare": ("--baseline", "--build", "--name"),
    "Report and export": ("--output", *option_names("run")),
    "Output": ("--expect-gpus", "--json", "--verbose"),
}


@click.command("ready", cls=GroupedCommand, groups=_TRAINING_GROUPS)
@measurement_options
def ready_command(**options: Any) -> None:
    """Check the machine, train the workshop's models, print one verdict and write a report."""
    from bench.commands import measure

    sys.exit(measure.measure("ready", complain=print_error, **options))


@click.command(
    "check",
    cls=GroupedCommand,
    groups={
        "What to check": (
            "--from",
            "--only",
            "--skip",
            "--frameworks",
            "--expect-gpus",
            "--power-supply",
            "--build",
        ),
        "Under load": ("--stress", "--backend"),
        "The checks": ("--list", "--explain"),
        "Export": option_names("check"),
        "Output": ("--json",),
    },
)
@click.option(
    "--stress",
    type=FiniteNumber(0, 24 * 60, min_open=True),
    metavar="MINUTES",
    help="Put the card under load for this time, and check it under load too.",
)
@click.option("--frameworks", is_flag=True, help="Check that each installed framework finds the card.")
@click.option(
    "--only", multiple=True, metavar="THEME", help="Run only the checks of this theme; may be repeated."
)
@click.option(
    "--skip", multiple=True, metavar="THEME", help="Leave out the checks of this theme; may be repeated."
)
@expect_gpus_option
@click.option(
    "--power-supply", type=WholeNumber(1), metavar="WATTS", help="Rated power of the computer's power supply."
)
@click.option(
    "--build", metavar="BUILD", help="The build whose power supply this computer has: see `dlbox parts`."
)
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    help="The framework that makes the load of --stress.  [default: the first of these that is installed]",
)
@report_option(
    "Judge another computer by its report: nvidia-smi -q, nvidia-bug-report.log.gz, an archive of `dlbox collect`, or "
    "a folder of outputs; `-` is stdin."
)
@json_option
@export_options("check")
@click.option("--list", "listing", is_flag=True, help="List the checks: what each examines, and its limits.")
@click.option("--explain", metavar="CHECK_ID", help="Explain a check, and how to fix what it finds.")
def check_command(**options: Any) -> None:
    """Check the card, the driver and the system, in about a second."""
    from bench.commands import check

    exports = export.take(options, "check")
    sys.exit(check.run(check.CheckOptions(exports=exports, **options), print_error))


@click.command("doctor")
@click.option("--fix", is_flag=True, help="Offer each repair that dlbox can do, run it, and look again.")
@report_option("Judge another computer by its report, as for `dlbox check --from`; `-` is stdin.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
def doctor_command(fix: bool, yes: bool, **options: Any) -> None:
    """Say what works, what is broken first and why, the next command, and what comes after it."""
    from bench.commands.computer import doctor

    stdin_is_terminal = sys.stdin is not None and sys.stdin.isatty()
    conflict = options["from_path"] is not None or options["as_json"]  # doctor.run refuses these with --fix
    if fix and not conflict and not yes and not stdin_is_terminal:
        raise click.UsageError("stdin is not a terminal: pass --yes")
    confirm = None if yes else lambda question: click.confirm(shown.sentence(question), err=True)
    sys.exit(doctor.run(fix=fix, confirm=confirm, complain=print_error, **options))


@click.command("collect")
@click.option(
    "-o",
    "--output",
    type=NamedPath(path_type=Path, dir_okay=False, allow_dash=True),
    default=Path("dlbox-collect.tar.gz"),
    show_default=True,
    help="The archive to write; `-` is stdout.",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option(
    "--script", is_flag=True, help="Print the shell script that does this, for a computer without dlbox."
)
def collect_command(**options: Any) -> None:
    """Pack what this computer says about its card into an archive, without names, addresses and keys."""
    from bench.commands.computer import collect

    sys.exit(collect.run(complain=print_error, **options))


@click.command("bench", cls=GroupedCommand, groups=_TRAINING_GROUPS)
@measurement_options
@click.option(
    "--baseline", is_flag=True, help="Compare later runs of these models on this machine with this run."
)
@click.option(
    "--tuned", is_flag=True, help="Train with the settings that `dlbox tune` stored, where they still apply."
)
@click.option(
    "--devices",
    metavar="WHICH",
    help="Also train on several devices at once: all cards, a number of cards, or cpu:2 (virtual devices).",
)
@export_options("run")
def bench_command(**options: Any) -> None:
    """Train the workshop's models in fresh processes, and record their speed."""
    from bench.commands import measure

    sys.exit(measure.measure("bench", complain=print_error, **options))


@click.command("tune")
@workload_option
@suite_option("workshop")
@click.option(
    "--minutes",
    type=FiniteNumber(0, 24 * 60, min_open=True),
    default=30.0,
    show_default=True,
    help="Time after which no further setting is tried.",
)
@wait_for_quiet_option
@json_option
def tune_command(**options: Any) -> None:
    """Find the fastest settings: try backends, layers, XLA, precision and batch size in turn, and store the best."""
    from bench.commands import tune

    sys.exit(tune.run(complain=print_error, **options))


@click.command("watch")
@click.option(
    "--interval",
    type=FiniteNumber(0.2, 3600),
    metavar="SECONDS",
    help="Seconds between two readings.  [default: 1; 10 if stdout is not a terminal]",
)
@click.option("--count", type=WholeNumber(1), metavar="N", help="End after N readings.  [default: at Ctrl-C]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document per line and reading.")
def watch_command(**options: Any) -> None:
    """Show the card and the processor while they work: use, memory, temperature, power, clocks, programs."""
    from bench.commands.computer import watch

    sys.exit(watch.run(**options))


@click.group("history", invoke_without_command=True)
@click.option("--limit", type=WholeNumber(1), default=20, show_default=True, help="Number of runs to list.")
@click.option("--models", is_flag=True, help="One row per run and model, with the trend of its speed.")
@workload_filter_option
@click.option("--backend", type=click.Choice(BACKENDS), help="Only models that this framework trained.")
@click.option(
    "--batch", type=WholeNumber(1), metavar="SIZE", help="Only models trained with this batch size."
)
@json_option
@click.pass_context
def history_group(context: click.Context, /, limit: int, models: bool, as_json: bool, **only: Any) -> None:
    """List the runs of this machine, the newest last; or export, import or remove runs."""
    if context.invoked_subcommand is None:
        from bench.commands import history

        if models or any(only.values()):
            sys.exit(history.list_models(limit=limit, as_json=as_json, complain=print_error, **only))
        sys.exit(history.list_runs(limit=limit, as_json=as_json, complain=print_error))


@history_group.command("export")
@click.argument("file", type=_HISTORY_FILE)
@click.option(
    "--run", "number", type=WholeNumber(1), metavar="ID", help="Export only this run.  [default: all]"
)
def history_export_command(file: Path, number: int | None) -> None:
    """Write runs to FILE (- for stdout) as JSON Lines: each line is the --json document of a run."""
    from bench.commands import history

    sys.exit(history.export(file, number=number, complain=print_error))


@history_group.command("import")
@click.argument("file", type=_HISTORY_FILE)
@json_option
def history_import_command(file: Path, as_json: bool) -> None:
    """Add the runs of FILE (- for stdin): an export, or a --json document of any machine."""
    from bench.commands import history

    sys.exit(history.bring_in(file, as_json=as_json, complain=print_error))


@history_group.command("prune")
@click.option("--keep", type=WholeNumber(0), metavar="N", help="Keep the newest N runs.")
@click.option(
    "--older-than", type=FiniteNumber(0, 36_500), metavar="DAYS", help="Remove only runs older than this."
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
def history_prune_command(keep: int | None, older_than: float | None, yes: bool, as_json: bool) -> None:
    """Remove old runs permanently. Baselines are always kept."""
    from bench.commands import history

    if not yes and not sys.stdin.isatty():
        raise click.UsageError("stdin is not a terminal: pass --yes")
    confirm = None if yes else lambda question: click.confirm(shown.sentence(question), err=True)
    sys.exit(
        history.prune(
            keep=keep, older_than=older_than, confirm=confirm, as_json=as_json, complain=print_error
        )
    )


@click.command("compare")
@click.argument("a", metavar="[A]", default="previous")
@click.argument("b", metavar="[B]", default="last")
@json_option
def compare_command(a: str, b: str, as_json: bool) -> None:
    """Compare the speed of run B with run A: each a run's number, `last`, `previous`, `baseline`, or a --json file.

    Without A and B: the last run with the one before it. The exit code is 1 if B is slower in any model.
    """
    from bench.commands import compare

    sys.exit(compare.run(a, b, as_json=as_json, complain=print_error))


@click.command(
    "report",
    cls=GroupedCommand,
    groups={
        "The page": ("--output", "--share", "--history"),
        "Another format instead": ("--markdown", *option_names("run")),
    },
)
@click.argument("which", metavar="[ID]", required=False)
@click.option("--output", type=Folder(), help="Folder of the report.  [default: next to the history]")
@click.option(
    "--share", is_flag=True, help="Write a picture (PNG) and a badge (SVG) of the run beside the page."
)
@click.option(
    "--history",
    "trends",
    is_flag=True,
    help="Write a page of trends of the newest runs, with changed versions, instead.",
)
@click.option("--markdown", is_flag=True, help="Print a summary in Markdown on stdout instead.")
@export_options("run")
def report_command(which: str | None, output: Path | None, **options: Any) -> None:
    """Write the report of run ID (the last run without it) again, and print its path.

    ID can also be `last`, `previous`, `baseline`, or a --json file of any machine.

    With an option that names another format (--csv, --markdown, ...) only that format is written.
    """
    from bench.commands import report

    sys.exit(report.run(which, output, print_error, **options))


@click.command("parts")
@click.argument("build", metavar="[BUILD]", required=False)
@click.option(
    "--budget",
    type=float,
    metavar="USD",
    help="Compare the total price with this budget instead of the build's.",
)
@click.option("--this", is_flag=True, help="Check this machine's card and power draw against the build too.")
@json_option
def parts_command(build: str | None, budget: float | None, this: bool, as_json: bool) -> None:
    """Check whether the parts of a build fit together; without BUILD, list the builds.

    BUILD is the name of a build that comes with dlbox, or a file.
    """
    from bench.commands import parts

    sys.exit(parts.run(build, this=this, budget=budget, as_json=as_json, complain=print_error))
