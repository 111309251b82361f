"""The one command. Each callback is a few lines; everything it needs is imported inside it."""

from __future__ import annotations

import codecs
import errno
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from common.backends import BACKENDS
from common.click_types import (
    CommaSeparatedChoice,
    FiniteNumber,
    Folder,
    WholeNumber,
    comma_list,
    merge_lists,
)
from common.exit_codes import INTERRUPTED
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


def exporting(command: Any) -> Any:
    """The options that ``bench`` and ``report`` share: the result for other programs."""
    to_sync = "Offline runs of Weights & Biases beside the history."
    command = click.option("--wandb", is_flag=True, help=to_sync)(command)
    for name, what in (
        ("tensorboard", "A folder of TensorBoard logs."),
        ("pytest-benchmark-json", "A file for `pytest-benchmark compare`; - is stdout."),
        ("pyperf", "A file for `pyperf compare_to`; - is stdout."),
        ("mllog", "A file of MLPerf log lines; - is stdout."),
        ("csv", "A file with a table, one row a model; - is stdout."),
    ):
        folder = name == "tensorboard"
        kind = Folder() if folder else click.Path(path_type=Path, dir_okay=False)
        metavar = "FOLDER" if folder else "FILE"
        command = click.option(f"--{name}", type=kind, metavar=metavar, help=what)(command)
    return command


COMMANDS = {
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
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write a JUnit XML file too.")
@click.option("--prometheus", type=click.Path(path_type=Path, dir_okay=False),
              help="Write a file for node_exporter's textfile folder too.")  # fmt: skip
@click.option("--list", "listing", is_flag=True, help="Say what every check looks at, and its limits.")
@click.option("--explain", metavar="CHECK_ID", help="Say what a check means and how to fix what it finds.")
def check_command(**options: Any) -> None:
    """Is the hardware sound? Ask the card and the system, in about a second."""
    from bench.commands import check

    sys.exit(check.run(check.Options(**options), complain))


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
@exporting
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
    confirm = None if yes else lambda question: click.confirm(question, err=True)
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
@exporting
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


@cli.command("plan", short_help="Which versions fit this box, and why?")
@click.option(
    "--card",
    "cards",
    multiple=True,
    metavar="NAME",
    help='A card, as in "RTX 3060" or 10de:2503; may be repeated.',
)
@click.option("--distro", metavar="NAME", help="As in ubuntu-24.04 or debian-12.")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A host or group of the inventory, or `all`; may be repeated.",
)
@click.option(
    "--inventory",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The inventory; without --host all of it.  [default: inventory/hosts.yml]",
)
@click.option(
    "--framework",
    "frameworks",
    multiple=True,
    type=click.Choice(BACKENDS),
    help="Must be part of it; may be repeated.  [default: all that run on the card]",
)
@click.option("--secure-boot/--no-secure-boot", default=None, help="[default: as read, or unknown]")
@click.option("--kernel", default="", metavar="RELEASE", help="As `uname -r` prints it.  [default: as read]")
@click.option("--cuda-toolkit", is_flag=True, help="With a system CUDA toolkit, for compiling.")
@click.option(
    "--stack",
    "stack_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A newer table of versions than the built-in one.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def plan_command(as_json: bool, **options: Any) -> None:
    """Which driver, CUDA, cuDNN and frameworks fit this box, or one that does not exist yet, and why."""
    from provision.commands import plan

    sys.exit(plan.plan(plan.Question(**options), as_json=as_json, complain=complain))


@cli.command("provision", short_help="Install what the plan says, here or on other boxes.")
@click.argument("hosts", nargs=-1, metavar="[HOST]...", callback=merge_lists)
@click.option("--inventory", type=click.Path(path_type=Path, dir_okay=False),
              help="The inventory; without HOSTs all of it.  [default: inventory/hosts.yml]")  # fmt: skip
@click.option("--limit", metavar="HOSTS", callback=comma_list,
              help="Of HOSTs, else of the inventory, only these; commas between them.")  # fmt: skip
@click.option("--framework", "frameworks", multiple=True, type=CommaSeparatedChoice(BACKENDS), callback=merge_lists,
              help="Only this; may be repeated.  [default: all that run on the card]")  # fmt: skip
@click.option("--cuda-toolkit", is_flag=True, help="With a system CUDA toolkit, for compiling.")
@click.option("--tags", multiple=True, callback=merge_lists,
              type=CommaSeparatedChoice(["driver", "cuda", "frameworks", "cudnn", "dlbox", "jupyter", "verify"]),
              help="Only this part; may be repeated, or several with commas between them.")  # fmt: skip
@click.option("--stack", "stack_file", type=click.Path(path_type=Path, dir_okay=False),
              help="A newer table of versions than the built-in one.")  # fmt: skip
@click.option("--jupyter/--no-jupyter", default=True, show_default=True, help="JupyterLab as a service.")
@click.option("--check", is_flag=True, help="Change nothing; show what would change.")
@click.option("--reboot", is_flag=True, help="Reboot where it is needed, but never this machine.")
@click.option("--enrol-key", is_flag=True,
              help="With Secure Boot: prepare that the firmware trusts modules compiled on the box.")  # fmt: skip
@click.option("--rollback", is_flag=True, help="Undo what dlbox installed, as it was recorded.")
@click.option("--bundle", type=Folder(), metavar="DIR",
              help="Collect in DIR what the box needs; once whole, install from it without a network.")  # fmt: skip
@click.option("--card", "cards", multiple=True, help="With --bundle: collect for a box with this card.")
@click.option("--distro", metavar="NAME", help="With --bundle: and with this release, as ubuntu-24.04.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--ask-become-pass", is_flag=True, help="Ask for the password of sudo on the hosts.")
@click.option("--ask-vault-pass", is_flag=True, help="Ask for the password of the inventory's vault.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def provision_command(
    yes: bool, ask_become_pass: bool, ask_vault_pass: bool, as_json: bool, **wishes: Any
) -> None:
    """Make this machine right, or HOSTs of the inventory: driver, frameworks, dlbox; then ask the box itself."""
    from common.progress import Watcher
    from provision.ansible import passwords
    from provision.commands import provision as command
    from provision.commands.options import Wishes, collects

    here = not wishes["hosts"] and not wishes["limit"] and wishes["inventory"] is None
    here = here and not collects(wishes["bundle"], wishes["cards"])
    agreed = _yes if yes else _ask if sys.stdin.isatty() else None
    here = here and (agreed is not None or wishes["check"])  # else nothing will be done
    try:
        secrets = passwords.ask(become=ask_become_pass, vault=ask_vault_pass, here=here)
    except passwords.PasswordError as error:
        complain(str(error))
        sys.exit(1)
    wanted = Wishes(secrets=secrets, **wishes)
    sys.exit(command.run(wanted, Watcher, agreed, as_json=as_json, complain=complain))


def _yes(question: str) -> bool:
    return True


def _ask(question: str) -> bool:
    return click.confirm(question, err=True)


def main() -> None:
    """Run the command line: no traceback, one sentence on stderr, the right exit code."""
    signal.signal(signal.SIGTERM, _stop)
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
        sys.exit(INTERRUPTED)
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
    sys.stdout.reconfigure(errors="dlbox")


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


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
