"""The one command. Each callback is a few lines; everything it needs is imported inside it."""

from __future__ import annotations

import codecs
import errno
import io
import math
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click

from bench.commands.export import export_options
from common import shown
from common.backends import BACKENDS
from common.click_types import FiniteNumber, Folder, WholeNumber
from common.exit_codes import EXIT_INTERRUPTED
from common.lazy_group import LazyCommand, LazyGroup
from common.messages import complain

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def measuring(command: Any) -> Any:
    """The options that ``bench`` and ``ready`` share."""
    for option in reversed(
        (
            click.option(
                "--workload",
                "workloads",
                multiple=True,
                metavar="NAME",
                help="Train only this model (lstm, gru, cnn, ...); may be repeated.",
            ),
            click.option(
                "--suite",
                type=click.Choice(["ready", "workshop", "full"]),
                default="ready",
                show_default=True,
                help="Three models, all twelve of the workshop, or those and the class's own variants.",
            ),
            click.option(
                "--backend",
                type=click.Choice(BACKENDS),
                help="What Keras runs on.  [default: the first of these that is installed]",
            ),
            click.option(
                "--quick/--full",
                default=None,
                help="One short process a model, or several long ones.  "
                "[default: --quick for the first `ready` on a machine without a card]",
            ),
            click.option(
                "--seed",
                type=WholeNumber(0, 2**31 - 1),
                default=0,
                show_default=True,
                help="Of the data and of the weights.",
            ),
            click.option(
                "--repeats",
                type=WholeNumber(1, 100),
                help="Fresh processes a model.  [default: 1 quick, 3 ready, 5 bench]",
            ),
            click.option(
                "--batch",
                metavar="SIZE",
                help="workshop (32), best (the fastest, found by doubling), both, or a number.  "
                "[default: both for a full `bench`, else workshop]",
            ),
            click.option("--build", metavar="BUILD", help="Parts and prices of this box: see `dlbox parts`."),
            click.option(
                "--output",
                type=Folder(),
                help="Folder for the report.  [default: beside the history]",
            ),
            click.option(
                "--expect-gpus", type=WholeNumber(0), metavar="N", help="Fail when fewer cards are found."
            ),
            click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout."),
        )
    ):
        command = option(command)
    return command


COMMANDS = {
    "plan": LazyCommand("provision.cli:plan_command", "Show which versions fit this machine, and why."),
    "provision": LazyCommand(
        "provision.cli:provision_command", "Install what the plan says, on this machine or on others."
    ),
    "workshop": LazyCommand("workshops.cli:workshop_group", "Run the Keras lessons; list and check them."),
}
"""Commands that a package's cli.py defines; it is imported when one of them is used."""


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="dlbox", prog_name="dlbox")
def cli() -> None:
    """Turn a PC with one consumer NVIDIA card into a deep learning box that is known to work.

    Start with `dlbox ready`.
    """


@cli.command("ready", short_help="Is this box ready? One verdict and a report.")
@measuring
def ready_command(**options: Any) -> None:
    """Is this box ready? Look at it, train the workshop's models, say so, write a report."""
    from bench.commands import measure as command

    sys.exit(command.measure("ready", complain=complain, **options))


@cli.command("check", short_help="Is the hardware sound? In about a second.")
@click.option("--stress", type=FiniteNumber(0, 24 * 60, min_open=True), metavar="MINUTES",
              help="Put the card under load for so long, and judge that too.")  # fmt: skip
@click.option("--frameworks", is_flag=True, help="Ask each installed framework whether it sees the card.")
@click.option("--only", multiple=True, metavar="THEME", help="Only this theme; may be repeated.")
@click.option("--skip", multiple=True, metavar="THEME", help="Not this theme; may be repeated.")
@click.option("--expect-gpus", type=WholeNumber(0), metavar="N", help="Fail when fewer cards are found.")
@click.option(
    "--power-supply", type=WholeNumber(1), metavar="WATTS", help="What the computer's supply can give."
)
@click.option(
    "--build", metavar="BUILD", help="The parts of this computer, for its power supply: see `parts`."
)
@click.option("--backend", type=click.Choice(BACKENDS),
              help="What makes the load.  [default: the first of these that is installed]")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@export_options("check")
@click.option("--list", "listing", is_flag=True, help="Say what every check looks at, and its limits.")
@click.option("--explain", metavar="CHECK_ID", help="Say what a check means and how to fix what it finds.")
def check_command(**options: Any) -> None:
    """Is the hardware sound? Ask the card and the system, in about a second."""
    from bench.commands import check, export

    exports = export.take(options, "check")
    sys.exit(check.run(check.Options(exports=exports, **options), complain))


@cli.command("bench", short_help="How fast is it? Train, and keep the figures.")
@measuring
@click.option(
    "--baseline", is_flag=True, help="Judge later runs of these models on this machine against this one."
)
@click.option(
    "--tuned", is_flag=True, help="Train with the settings that `dlbox tune` stored, where they count."
)
@click.option("--devices", metavar="WHICH",
              help="Train on several at once too: all cards, a number of them, or cpu:2 (virtual ones).")  # fmt: skip
@export_options("run")
def bench_command(**options: Any) -> None:
    """How fast is it? Train the workshop's models in fresh processes and keep the figures."""
    from bench.commands import measure as command

    sys.exit(command.measure("bench", complain=complain, **options))


@cli.command("tune", short_help="Which settings train fastest here? Try them, store the best.")
@click.option("--workload", "workloads", multiple=True, metavar="NAME",
              help="Only this model (lstm, gru, cnn, ...); may be repeated.")  # fmt: skip
@click.option("--suite", type=click.Choice(["ready", "workshop", "full"]), default="workshop", show_default=True,
              help="Three models, all twelve of the workshop, or those and the class's own variants.")  # fmt: skip
@click.option("--minutes", type=FiniteNumber(0, 24 * 60, min_open=True), default=30.0, show_default=True,
              help="Start nothing new after so long.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def tune_command(**options: Any) -> None:
    """Which settings train fastest here? Try backends, layers, XLA, precision and batch in turn; store the best."""
    from bench.run import tune

    sys.exit(tune.command(complain=complain, **options))


@cli.group("history", short_help="What was measured on this machine.", invoke_without_command=True)
@click.option("--limit", type=WholeNumber(1), default=20, show_default=True, help="How many runs.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_context
def history_group(context: click.Context, limit: int, as_json: bool) -> None:
    """What was measured on this machine, the newest last; or take runs out of it, in, or away."""
    if context.invoked_subcommand is None:
        from bench.commands import measure as command

        sys.exit(command.history(limit=limit, as_json=as_json, complain=complain))


@history_group.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--run", "number", type=WholeNumber(1), metavar="ID", help="Only this run.  [default: all]")
def history_export_command(file: Path, number: int | None) -> None:
    """Write runs to FILE (- for stdout): JSON Lines, each line what --json printed for a run."""
    from bench.commands import history

    sys.exit(history.export(file, number=number, complain=complain))


@history_group.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def history_import_command(file: Path, as_json: bool) -> None:
    """Add the runs of FILE (- for stdin): an export, or what --json printed on any box."""
    from bench.commands import history

    sys.exit(history.bring_in(file, as_json=as_json, complain=complain))


@history_group.command("prune")
@click.option("--keep", type=WholeNumber(0), metavar="N", help="The newest N runs stay.")
@click.option("--older-than", type=FiniteNumber(0, 36_500), metavar="DAYS", help="Only older runs go.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def history_prune_command(keep: int | None, older_than: float | None, yes: bool, as_json: bool) -> None:
    """Remove old runs for good. A baseline always stays."""
    from bench.commands import history

    if not yes and not sys.stdin.isatty():
        raise click.UsageError("nobody is there to be asked: add --yes")
    confirm = None if yes else lambda question: click.confirm(shown.sentence(question), err=True)
    sys.exit(
        history.prune(keep=keep, older_than=older_than, confirm=confirm, as_json=as_json, complain=complain)
    )


@cli.command("compare", short_help="Is B slower than A?")
@click.argument("a", metavar="[A]", default="previous")
@click.argument("b", metavar="[B]", default="last")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def compare_command(a: str, b: str, as_json: bool) -> None:
    """Is B slower than A? Each is a run's number, `last`, `previous`, `baseline`, or a --json file.

    Without A and B: the last run against the one before it. Exit code 1 when B is slower in any model.
    """
    from bench.commands import compare

    sys.exit(compare.run(a, b, as_json=as_json, complain=complain))


@cli.command("report", short_help="Write the page of a run again.")
@click.argument("which", metavar="[ID]", required=False)
@click.option(
    "--output",
    type=Folder(),
    help="Folder for the page.  [default: beside the history]",
)
@click.option("--markdown", is_flag=True, help="A summary to paste elsewhere, on stdout.")
@export_options("run")
def report_command(which: str | None, output: Path | None, **files: Path | bool | None) -> None:
    """Write the page of run ID again (the last run's without one) and say where.

    ID can also be `last`, `previous`, `baseline`, or a --json file of any box.

    With an option that names another format (--csv, --markdown, ...) that is written and no page.
    """
    from bench.commands import measure as command

    sys.exit(command.write_report(which, output, complain, **files))


@cli.command("parts", short_help="What to buy, and does it fit?")
@click.argument("build", metavar="[BUILD]", required=False)
@click.option("--budget", type=float, metavar="USD", help="Hold the total against this instead of its own.")
@click.option("--this", is_flag=True, help="Hold this machine's card and power draw against it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def parts_command(build: str | None, budget: float | None, this: bool, as_json: bool) -> None:
    """What to buy, and does it fit? Judge a build by its name or file; list the builds without one."""
    from bench.commands import parts

    sys.exit(parts.run(build, this=this, budget=budget, as_json=as_json, complain=complain))


def main() -> None:
    """Run the command line: no traceback, one sentence on stderr, the right exit code."""
    _set_up_signals()
    _set_up_streams()
    try:
        try:
            cli.main(standalone_mode=False)
        finally:
            sys.stdout.flush()
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "dlbox"
        complain(f"{error.format_message().rstrip('.')}: see `{where} --help`")
        sys.exit(error.exit_code)
    except click.ClickException as error:
        complain(error.format_message())
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        complain("interrupted")
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        _say_no_more()  # the reader has seen enough
        sys.exit(1)
    except Exception as error:
        if os.environ.get("DLBOX_DEBUG"):
            raise
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            _say_no_more()
            complain(
                f"cannot write{f' {error.filename}' if error.filename else ''}: {error.strerror}; make room there"
            )
        elif isinstance(error, FileNotFoundError) and "temporary directory" in str(
            error
        ):  # so Python says it
            complain(
                "no temporary directory has room or can be written to: make room, or set TMPDIR to one that has"
            )
        else:
            complain(
                f"unexpected {type(error).__name__}: {error} (DLBOX_DEBUG=1 shows where; please report it)"
            )
        sys.exit(1)


def _set_up_signals() -> None:
    """A polite kill and a closed terminal are as Ctrl-C; what was ignored at the start (`nohup`, `&`) stays so."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        if number is signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def _set_up_streams() -> None:
    """What the caller closed is None, and its number would go to the next file, into which libraries then print."""
    if sys.stdin is None:
        sys.stdin = _nowhere("r")
    if sys.stderr is None:
        sys.stderr = _nowhere("w")
    if sys.stdout is None:
        complain(
            "stdout is closed, and what a command finds goes there: leave it open, or send it to /dev/null"
        )
        sys.exit(2)
    codecs.register_error("dlbox", _shown)
    sys.stdout, sys.stderr = _lasting(sys.stdout), _lasting(sys.stderr)
    sys.stdout.reconfigure(errors="dlbox")


class _Terminal(io.FileIO):
    """May be closed at any time; what is written after that goes nowhere, and the run is stopped or goes on."""

    def write(self, data: Any) -> int:
        try:
            return int(super().write(data) or 0)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            return memoryview(data).nbytes


def _lasting(stream: Any) -> Any:
    """``stream``, or one for the same terminal that can be written to after that was closed."""
    if not stream.isatty():
        return stream
    raw = _Terminal(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=stream.encoding, errors=stream.errors, line_buffering=True
    )


def _nowhere(mode: str) -> Any:
    stream = Path(os.devnull).open(mode)  # noqa: SIM115 - until the end
    os.set_inheritable(stream.fileno(), True)
    return stream


def _shown(error: UnicodeError) -> tuple[str | bytes, int]:
    """Bytes of a path that are no text come out as they are, what the terminal has no sign for as Python writes it."""
    if isinstance(error, UnicodeEncodeError):
        try:
            return error.object[error.start : error.end].encode("ascii", "surrogateescape"), error.end
        except UnicodeEncodeError:
            return codecs.backslashreplace_errors(error)
    raise error


def _say_no_more() -> None:
    """Python would try to write what is left once more at its end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


_ONE_STOP_S = 3.0
"""A terminal that closes sends its signal twice, and people press Ctrl-C twice: what was measured is kept meanwhile."""

_stopped = -math.inf


def _stop(number: int, frame: object) -> None:
    global _stopped
    now = time.monotonic()
    if now - _stopped >= _ONE_STOP_S:
        _stopped = now
        raise KeyboardInterrupt


if __name__ == "__main__":
    main()
