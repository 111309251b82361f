"""The command `dlbox`: its group of commands, errors and exit codes, signals and standard streams."""

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

from common.click_types import (
    Folder,
    WholeNumber,
)
from common.exit_codes import EXIT_INTERRUPTED
from common.lazy_group import LazyCommand, LazyGroup
from common.messages import print_error

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


COMMANDS = {
    "bench": LazyCommand("bench.cli:bench_command", "Train the models and record their speed."),
    "check": LazyCommand("bench.cli:check_command", "Check the card, the driver and the system."),
    "compare": LazyCommand("bench.cli:compare_command", "Compare the speed of two runs."),
    "history": LazyCommand("bench.cli:history_group", "List, export, import or remove the recorded runs."),
    "parts": LazyCommand("bench.cli:parts_command", "Check whether the parts of a build fit together."),
    "ready": LazyCommand(
        "bench.cli:ready_command", "Check the machine, train, print one verdict and write a report."
    ),
    "report": LazyCommand("bench.cli:report_command", "Write the report of a run again."),
    "plan": LazyCommand("provision.cli:plan_command", "Show which versions fit this machine, and why."),
    "provision": LazyCommand(
        "provision.cli:provision_command", "Install what the plan says, on this machine or on others."
    ),
    "tune": LazyCommand("bench.cli:tune_command", "Find and store the fastest settings for each model."),
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
@click.option(
    "--epochs", type=WholeNumber(1), help="How often to go through the data.  [default: the lesson's]"
)
@click.option("--quick", is_flag=True, help="The short form: a minute on two CPU cores.")
@click.option(
    "--seed", type=WholeNumber(0, 2**31 - 1), default=0, show_default=True, help="Of data and weights."
)
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

    sys.exit(command.run(name, Settings(**choices), backend=backend, as_json=as_json, complain=print_error))


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

    sys.exit(command.check(name, folder, solutions=solutions, as_json=as_json, complain=print_error))


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

    sys.exit(command.write_notebook(name, folder, force=force, complain=print_error))


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

    sys.exit(command.open_lab(folder, complain=print_error))


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

    sys.exit(command.predict(name, text, output, model=model, backend=backend, complain=print_error))


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
        print_error(f"{error.format_message().rstrip('.')}: see `{where} --help`")
        sys.exit(error.exit_code)
    except click.ClickException as error:
        print_error(error.format_message())
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        print_error("interrupted")
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        _discard_stdout()  # the reader has closed the pipe
        sys.exit(1)
    except Exception as error:
        if os.environ.get("DLBOX_DEBUG"):
            raise
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            _discard_stdout()
            print_error(
                f"cannot write{f' {error.filename}' if error.filename else ''}: {error.strerror}; free some space there"
            )
        elif isinstance(error, FileNotFoundError) and "temporary directory" in str(error):  # from tempfile
            print_error(
                "no temporary directory is writable and has free space: free some, or set TMPDIR to another folder"
            )
        else:
            print_error(
                f"unexpected {type(error).__name__}: {error} (DLBOX_DEBUG=1 shows where; please report it)"
            )
        sys.exit(1)


def _set_up_signals() -> None:
    """Treat SIGTERM and SIGHUP like Ctrl-C. Signals that were ignored at the start (`nohup`, `&`) stay ignored."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        if number is signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def _set_up_streams() -> None:
    """Replace closed streams: else the next opened file gets their number, and libraries print into it."""
    if sys.stdin is None:
        sys.stdin = _devnull("r")
    if sys.stderr is None:
        sys.stderr = _devnull("w")
    if sys.stdout is None:
        print_error(
            "stdout is closed, but results are printed there: leave it open, or redirect it to /dev/null"
        )
        sys.exit(2)
    codecs.register_error("dlbox", _encode_error)
    sys.stdout, sys.stderr = _robust(sys.stdout), _robust(sys.stderr)
    sys.stdout.reconfigure(errors="dlbox")


class _Terminal(io.FileIO):
    """A terminal that may be closed at any time: what is written to it after that is discarded."""

    def write(self, data: Any) -> int:
        try:
            return int(super().write(data) or 0)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            return memoryview(data).nbytes


def _robust(stream: Any) -> Any:
    """``stream``, or, if it is a terminal, a stream that discards what is written after the terminal was closed."""
    if not stream.isatty():
        return stream
    raw = _Terminal(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=stream.encoding, errors=stream.errors, line_buffering=True
    )


def _devnull(mode: str) -> Any:
    stream = Path(os.devnull).open(mode)  # noqa: SIM115 - stays open until the process ends
    os.set_inheritable(stream.fileno(), True)
    return stream


def _encode_error(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encode undecodable bytes of a path unchanged, and characters that the terminal lacks as a backslash escape."""
    if isinstance(error, UnicodeEncodeError):
        try:
            return error.object[error.start : error.end].encode("ascii", "surrogateescape"), error.end
        except UnicodeEncodeError:
            return codecs.backslashreplace_errors(error)
    raise error


def _discard_stdout() -> None:
    """Discard what is still buffered: Python would write it at its end, fail again, and print a traceback."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


_IGNORE_REPEATED_SIGNAL_S = 3.0
"""Further signals within this time are ignored while results are stored: a closing terminal sends two, and people
press Ctrl-C twice."""

_last_stop = -math.inf


def _stop(number: int, frame: object) -> None:
    global _last_stop
    now = time.monotonic()
    if now - _last_stop >= _IGNORE_REPEATED_SIGNAL_S:
        _last_stop = now
        raise KeyboardInterrupt


if __name__ == "__main__":
    main()
