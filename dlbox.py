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

from common.command_line.exit_codes import EXIT_INTERRUPTED
from common.command_line.lazy_group import LazyCommand, LazyGroup
from common.command_line.messages import print_error

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


COMMANDS = {
    "bench": LazyCommand("bench.cli:bench_command", "Train the models and record their speed."),
    "check": LazyCommand("bench.cli:check_command", "Check the card, the driver and the system."),
    "collect": LazyCommand(
        "bench.cli:collect_command", "Pack what this computer says, to ask others for help."
    ),
    "compare": LazyCommand("bench.cli:compare_command", "Compare the speed of two runs."),
    "doctor": LazyCommand("bench.cli:doctor_command", "Say what is broken first, why, and what to run next."),
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
    "watch": LazyCommand("bench.cli:watch_command", "Show the card and the processor while they work."),
    "workshop": LazyCommand("workshops.cli:workshop_group", "Run the Keras lessons; list and check them."),
}
"""Commands that a package's cli.py defines; it is imported when one of them is used."""

IN_CLONE = {
    "./dlbox setup": "Install the framework for the card in this computer, or add torch, jax or jupyter.",
    "./dlbox test": "Run the tests of dlbox.",
    "./dlbox regenerate": "Write the generated files of the repository again.",
}
"""Commands of the launcher, which this program does not run."""


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    in_clone=IN_CLONE,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="dlbox", prog_name="dlbox")
@click.option("--json", "as_json", is_flag=True, help="Without a command: print the start screen as JSON.")
@click.pass_context
def cli(context: click.Context, as_json: bool) -> None:
    """Turn a PC with one consumer NVIDIA card into a deep learning box that is known to work.

    Without a command, dlbox shows where this computer stands and the next command. Start with `dlbox ready`.
    """
    if context.invoked_subcommand is None:
        from bench.commands.computer import overview

        sys.exit(overview.show(as_json=as_json))
    if as_json:
        raise click.UsageError(f"write --json after the command: dlbox {context.invoked_subcommand} --json")


def main() -> None:
    """Run the command line: no traceback, one sentence on stderr, the right exit code."""
    _set_up_signals()
    _set_up_streams()
    try:
        try:
            cli.main(standalone_mode=False)
        finally:
            sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:  # its message is the help text
        print(error.format_message())
        sys.exit(error.exit_code)
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
    """Discard what is still buffered: Python would write it when it exits, fail again, and print a traceback."""
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
