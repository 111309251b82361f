"""`dlbox workshop notebook` and `dlbox workshop open`."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from common.command_line.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE, Complain
from common.terminal.shown import on_terminal
from workshops.lessons import catalog
from workshops.lessons.catalog import UnknownLessonError
from workshops.player import notebook
from workshops.player.outcome import LessonError


def write_notebook(name: str, folder: Path, *, force: bool, complain: Complain) -> int:
    """Write the lesson to ``FOLDER/NAME.ipynb``; ``all`` writes every lesson except edited notebooks."""
    code = EXIT_OK
    try:
        lessons = catalog.lessons() if name == "all" else (catalog.find(name),)
        for lesson in lessons:
            try:
                print(on_terminal(str(notebook.write(lesson, folder, force=force)), sys.stdout))
            except notebook.EditedNotebookError as error:
                complain(str(error).rstrip("."))
                code = EXIT_FAILED
    except (UnknownLessonError, LessonError) as error:
        complain(str(error).rstrip("."))
        return EXIT_USAGE
    return code


def open_lab(folder: Path, *, complain: Complain) -> int:
    """Open JupyterLab with the notebooks in ``folder``; missing notebooks are written first."""
    if importlib.util.find_spec("jupyterlab") is None:
        complain(
            "JupyterLab is not installed here: `./dlbox setup jupyter` installs it; or use `dlbox workshop run`"
        )
        return EXIT_FAILED
    try:
        for lesson in catalog.lessons():
            if not (folder / f"{lesson.stem}.ipynb").exists():
                notebook.write(lesson, folder)
    except LessonError as error:
        complain(str(error).rstrip("."))
        return EXIT_FAILED
    return subprocess.run([sys.executable, "-m", "jupyterlab", str(folder)], check=False).returncode
