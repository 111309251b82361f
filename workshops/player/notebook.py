"""Create a Jupyter notebook from the page files of a lesson, so that there is no second copy of the text."""

from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path
from typing import Any

from common.file_access.files import write_with
from workshops.player.expected import Lesson
from workshops.player.outcome import LessonError

_FUTURE = "from __future__ import annotations\n"
_BACKEND = f"""{_FUTURE}
from workshops.player import backend

backend.set_backend()  # KERAS_BACKEND, else the first of tensorflow, torch and jax that is installed
"""


class EditedNotebookError(LessonError):
    """The notebook in the folder was edited by the learner."""


def make(lesson: Lesson) -> Any:
    """The notebook as an nbformat node: the cells of all pages, including the cells that only the notebook uses."""
    import jupytext

    pages = [jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent") for path in lesson.page_files]
    book = pages[0]
    book.cells = [cell for page in pages for cell in page.cells]
    seen: set[str] = set()
    for i, cell in enumerate(book.cells):
        cell.metadata = {}
        cell["id"] = f"{lesson.stem}-{i}"
        if cell.cell_type == "code":
            cell.source = _without_repeated_imports(cell.source, seen, lesson)
    book.cells = [cell for cell in book.cells if cell.source.strip()]
    first = next(cell for cell in book.cells if cell.cell_type == "code")
    first.source = first.source.replace(_FUTURE, _BACKEND, 1)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    book.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    book.metadata["dlbox"] = {"made": _fingerprint(book)}
    return book


def write(lesson: Lesson, folder: Path, *, force: bool = False) -> Path:
    """Write the notebook to ``folder/STEM.ipynb``. Raises LessonError when it cannot be written.

    An existing notebook is replaced if nobody has edited it, or with ``force``. Otherwise raises EditedNotebookError.
    If its cells equal those of the lesson, the file and the outputs in it are kept.
    """
    import nbformat

    path, book = folder / f"{lesson.stem}.ipynb", make(lesson)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists() and not force:
            current, made = _read(path)
            if current == _fingerprint(book):
                return path
            if current is None or current != made:
                raise EditedNotebookError(
                    f"{path} was edited and is not overwritten: choose another --folder, or pass --force."
                )
        write_with(path, lambda new: nbformat.write(book, new))
    except OSError as error:
        raise LessonError(f"Cannot write {path}: {error.strerror}.") from None
    return path


def _fingerprint(book: Any) -> str:
    """Hash of the text of the cells, without their outputs."""
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in book["cells"]]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def _read(path: Path) -> tuple[str | None, str | None]:
    """(fingerprint of the notebook at ``path`` now, fingerprint when it was written). None for one that cannot be
    read."""
    try:
        book = json.loads(path.read_text(encoding="utf-8"))
        return _fingerprint(book), book["metadata"].get("dlbox", {}).get("made")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, None


def _without_repeated_imports(source: str, seen: set[str], lesson: Lesson) -> str:
    """The cell without imports of the lesson's own pages and without imports that an earlier cell has."""
    lines = source.split("\n")
    for node in reversed(ast.parse(source).body):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        statement = ast.unparse(node)
        own = isinstance(node, ast.ImportFrom) and node.module in lesson.page_modules
        if own or statement in seen:
            del lines[node.lineno - 1 : node.end_lineno]
        else:
            seen.add(statement)
    return "\n".join(lines)
