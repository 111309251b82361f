"""`dlbox workshop notebook` and `dlbox workshop open`."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from common.exit_codes import NOT_SOUND, SOUND, USAGE
from common.messages import Complain
from workshops.lessons import catalog
from workshops.lessons.catalog import UnknownLessonError
from workshops.player import notebook
from workshops.player.outcome import LessonError


def write_notebook(name: str, folder: Path, *, force: bool, complain: Complain) -> int:
    """Write the lesson to ``FOLDER/NAME.ipynb``; ``all`` writes every lesson except edited notebooks."""
    code = SOUND
    try:
        lessons = catalog.lessons() if name == "all" else (catalog.find(name),)
        for lesson in lessons:
            try:
                print(notebook.write(lesson, folder, force=force))
            except notebook.EditedNotebookError as error:
                complain(str(error).rstrip("."))
                code = NOT_SOUND
    except (UnknownLessonError, LessonError) as error:
        complain(str(error).rstrip("."))
        return USAGE
    return code


def open_lab(folder: Path, *, complain: Complain) -> int:
    """Open JupyterLab with the notebooks in ``folder``; missing notebooks are written first."""
    if importlib.util.find_spec("jupyterlab") is None:
        complain("JupyterLab is not installed here: `pip install jupyterlab`, or use `dlbox workshop run`")
        return NOT_SOUND
    try:
        for lesson in catalog.lessons():
            if not (folder / f"{lesson.stem}.ipynb").exists():
                notebook.write(lesson, folder)
    except LessonError as error:
        complain(str(error).rstrip("."))
        return NOT_SOUND
    return subprocess.run([sys.executable, "-m", "jupyterlab", str(folder)], check=False).returncode
