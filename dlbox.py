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
from common.exit_codes import EXIT_INTERRUPTED

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Whole(click.IntRange):
    """click says "integer range" where a person says whole number."""

    name = "whole number"


class Number(click.FloatRange):
    """click lets "nan" through, which is in no range."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return number


class Folder(click.Path):
    """A folder to write to or read from; "-", stdout everywhere else, is none."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from common.files import is_stdout

        path = super().convert(value, param, ctx)
        if is_stdout(path):
            raise click.BadParameter(f'expected a folder, got "{value}" (stdout)', ctx, param)
        return path


class Several(click.Choice[str]):
    """One of these, or more with commas between them; ``flat`` makes one tuple of them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return tuple(super(Several, self).convert(word, param, ctx) for word in some(value, param, ctx))


def parts(value: str) -> list[str]:
    """As people write lists: "b1,b9"."""
    return [word for word in (part.strip() for part in value.split(",")) if word]


def some(value: str, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
    """At least one: what a script meant by an empty variable is not "everything"."""
    words = parts(value)
    if not words:
        raise click.BadParameter("it is empty", ctx, param)
    return words


def flat(ctx: click.Context, param: click.Parameter, groups: tuple[Any, ...]) -> tuple[str, ...]:
    """Each once, in the order they came."""
    every = [w for group in groups for w in (some(group, param, ctx) if isinstance(group, str) else group)]
    return tuple(dict.fromkeys(every))


def listed(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """As ``flat``, of an option that is given once."""
    return () if value is None else flat(ctx, param, (value,))


def complain(sentence: str) -> None:
    """One sentence on stderr; what it repeats from outside is shortened, and control characters are not sent."""
    click.echo(f"dlbox: {shown.sentence(sentence)}", err=True)


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
                type=click.Choice(["tensorflow", "torch", "jax"]),
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
                type=Whole(0, 2**31 - 1),
                default=0,
                show_default=True,
                help="Of the data and of the weights.",
            ),
            click.option(
                "--repeats",
                type=Whole(1, 100),
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
                "--expect-gpus", type=Whole(0), metavar="N", help="Fail when fewer cards are found."
            ),
            click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout."),
        )
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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
@click.option("--stress", type=Number(0, 24 * 60, min_open=True), metavar="MINUTES",
              help="Put the card under load for so long, and judge that too.")  # fmt: skip
@click.option("--frameworks", is_flag=True, help="Ask each installed framework whether it sees the card.")
@click.option("--only", multiple=True, metavar="THEME", help="Only this theme; may be repeated.")
@click.option("--skip", multiple=True, metavar="THEME", help="Not this theme; may be repeated.")
@click.option("--expect-gpus", type=Whole(0), metavar="N", help="Fail when fewer cards are found.")
@click.option("--power-supply", type=Whole(1), metavar="WATTS", help="What the computer's supply can give.")
@click.option(
    "--build", metavar="BUILD", help="The parts of this computer, for its power supply: see `parts`."
)
@click.option("--backend", type=click.Choice(["tensorflow", "torch", "jax"]),
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
@click.option("--minutes", type=Number(0, 24 * 60, min_open=True), default=30.0, show_default=True,
              help="Start nothing new after so long.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def tune_command(**options: Any) -> None:
    """Which settings train fastest here? Try backends, layers, XLA, precision and batch in turn; store the best."""
    from bench.run import tune

    sys.exit(tune.command(complain=complain, **options))


@cli.group("history", short_help="What was measured on this machine.", invoke_without_command=True)
@click.option("--limit", type=Whole(1), default=20, show_default=True, help="How many runs.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_context
def history_group(context: click.Context, limit: int, as_json: bool) -> None:
    """What was measured on this machine, the newest last; or take runs out of it, in, or away."""
    if context.invoked_subcommand is None:
        from bench.commands import measure as command

        sys.exit(command.history(limit=limit, as_json=as_json, complain=complain))


@history_group.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--run", "number", type=Whole(1), metavar="ID", help="Only this run.  [default: all]")
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
@click.option("--keep", type=Whole(0), metavar="N", help="The newest N runs stay.")
@click.option("--older-than", type=Number(0, 36_500), metavar="DAYS", help="Only older runs go.")
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
    type=click.Choice(["tensorflow", "torch", "jax"]),
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
@click.argument("hosts", nargs=-1, metavar="[HOST]...", callback=flat)
@click.option("--inventory", type=click.Path(path_type=Path, dir_okay=False),
              help="The inventory; without HOSTs all of it.  [default: inventory/hosts.yml]")  # fmt: skip
@click.option("--limit", metavar="HOSTS", callback=listed,
              help="Of HOSTs, else of the inventory, only these; commas between them.")  # fmt: skip
@click.option("--framework", "frameworks", multiple=True, type=Several(["tensorflow", "torch", "jax"]), callback=flat,
              help="Only this; may be repeated.  [default: all that run on the card]")  # fmt: skip
@click.option("--cuda-toolkit", is_flag=True, help="With a system CUDA toolkit, for compiling.")
@click.option("--tags", multiple=True, callback=flat,
              type=Several(["driver", "cuda", "frameworks", "cudnn", "dlbox", "jupyter", "verify"]),
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
    return click.confirm(shown.sentence(question), err=True)


@cli.group("workshop", short_help="The lessons this box was built for.")
def workshop_group() -> None:
    """The lessons this box was built for: they run anywhere, offline, and say what should come out."""


LESSONS_FOLDER = Path("dlbox-results/workshop")


def lesson_backend(command: Any) -> Any:
    """The option that picks what Keras runs on."""
    return click.option(
        "--backend",
        type=click.Choice(["tensorflow", "torch", "jax"]),
        help="What Keras runs on.  [default: KERAS_BACKEND, else the first of these that is installed]",
    )(command)


@workshop_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def workshop_list_command(as_json: bool) -> None:
    """The lessons in order, and how long each takes."""
    from workshops import command

    sys.exit(command.list_lessons(as_json=as_json))


@workshop_group.command("run")
@click.argument("name")
@click.option("--model", metavar="NAME", help="Only this model of the lesson.")
@click.option(
    "--cell", metavar="NAME", help="Only this kind of cell (simple-rnn, lstm, gru; by-hand also conv)."
)
@click.option("--epochs", type=Whole(1), help="How often to go through the data.  [default: the lesson's]")
@click.option("--quick", is_flag=True, help="The short form: a minute on two CPU cores.")
@click.option("--seed", type=Whole(0, 2**31 - 1), default=0, show_default=True, help="Of data and weights.")
@click.option("--data", default="embedded", show_default=True, metavar="SET", help="Another data set (list).")
@click.option(
    "--corpus",
    type=click.Path(path_type=Path, exists=True),
    help="A file or folder of your own, for lessons that read one.",
)
@click.option(
    "--output",
    type=Folder(),
    default=LESSONS_FOLDER,
    show_default=True,
    help="Folder for pictures and models.",
)
@click.option("--save", is_flag=True, help="Keep the trained models as .keras files.")
@click.option("--show", is_flag=True, help="Open each picture on the desktop as well.")
@lesson_backend
@click.option("--json", "as_json", is_flag=True, help="The outcome as one JSON document on stdout.")
def workshop_run_command(name: str, backend: str | None, as_json: bool, **choices: Any) -> None:
    """Run a lesson; at the end what came out is held against what should have."""
    from workshops import command
    from workshops.page import Settings

    sys.exit(command.run(name, Settings(**choices), backend=backend, as_json=as_json, complain=complain))


@workshop_group.command("check")
@click.argument("name")
@click.option(
    "--folder",
    type=Folder(),
    default=Path("exercises"),
    show_default=True,
    help="Where your copy of the exercises is, or should be put.",
)
@click.option("--solutions", is_flag=True, help="Test the solutions instead, and say where they are.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def workshop_check_command(name: str, folder: Path, solutions: bool, as_json: bool) -> None:
    """Test your exercises of a lesson; the first time, put them there."""
    from workshops import command

    sys.exit(command.check(name, folder, solutions=solutions, as_json=as_json, complain=complain))


@workshop_group.command("notebook")
@click.argument("name")
@click.option(
    "--folder",
    type=Folder(),
    default=Path("notebooks"),
    show_default=True,
    help="Where to write it.",
)
@click.option("--force", is_flag=True, help="Write over a notebook that you edited.")
def workshop_notebook_command(name: str, folder: Path, force: bool) -> None:
    """Write a lesson (or `all`) as a Jupyter notebook."""
    from workshops import command

    sys.exit(command.write_notebook(name, folder, force=force, complain=complain))


@workshop_group.command("open")
@click.option(
    "--folder",
    type=Folder(),
    default=Path("notebooks"),
    show_default=True,
    help="Where the notebooks are, or should be written.",
)
def workshop_open_command(folder: Path) -> None:
    """Open the lessons in JupyterLab."""
    from workshops import command

    sys.exit(command.open_lab(folder, complain=complain))


@workshop_group.command("predict")
@click.argument("name")
@click.option("--text", required=True, help='What to give it: "12+345" for seq2seq.')
@click.option("--model", metavar="NAME", help="Which of the kept models.  [default: the newest]")
@click.option(
    "--output",
    type=Folder(),
    default=LESSONS_FOLDER,
    show_default=True,
    help="Folder that `run --save` wrote to.",
)
@lesson_backend
def workshop_predict_command(
    name: str, text: str, output: Path, model: str | None, backend: str | None
) -> None:
    """Ask a model that `run --save` kept."""
    from workshops import command

    sys.exit(command.predict(name, text, output, model=model, backend=backend, complain=complain))


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
