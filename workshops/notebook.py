"""A lesson as a Jupyter notebook, made from the lesson's own file: there is no second copy to go stale."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from workshops import files
from workshops.catalog import Lesson
from workshops.page import LessonError

_FUTURE = "from __future__ import annotations\n"
_BACKEND = f"""{_FUTURE}
from workshops import start

start.set_backend(None)  # KERAS_BACKEND, else the first of tensorflow, torch and jax that is installed
"""


def make(lesson: Lesson) -> Any:
    """The notebook (an nbformat node): without the cells for the script only, with those for the notebook."""
    import jupytext

    pages = [
        jupytext.reads((Path(__file__).parent / f"{page}.py").read_text(encoding="utf-8"), fmt="py:percent")
        for page in lesson.pages
    ]
    book = pages[0]
    book.cells = [
        cell for page in pages for cell in page.cells if "active-py" not in cell.metadata.get("tags", [])
    ]
    seen: set[str] = set()
    for i, cell in enumerate(book.cells):
        cell.metadata = {}
        cell["id"] = f"{lesson.stem}-{i}"
        if cell.cell_type == "code":
            cell.source = _once(cell.source, seen, lesson)
    book.cells = [cell for cell in book.cells if cell.source.strip()]
    first = next(cell for cell in book.cells if cell.cell_type == "code")
    first.source = first.source.replace(_FUTURE, _BACKEND, 1)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    book.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    book.metadata["dlbox"] = {"made": _fingerprint(book)}
    return book


def write(lesson: Lesson, folder: Path, *, force: bool = False) -> Path:
    """The notebook as ``folder/STEM.ipynb``; raises LessonError when it cannot be written.

    One that is there already is replaced where nobody changed it since it was made, or with ``force``; raises
    EditedError for one that was edited. Where the cells are those of the lesson it stays, with what it printed.
    """
    import nbformat

    path, book = folder / f"{lesson.stem}.ipynb", make(lesson)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists() and not force:
            there, made = _read(path)
            if there == _fingerprint(book):
                return path
            if there is None or there != made:
                raise EditedError(
                    f"{path} was edited and is left as it is: choose another --folder, or --force to write over it."
                )
        files.write(path, lambda new: nbformat.write(book, new))
    except OSError as error:
        raise LessonError(f"Cannot write {path}: {error.strerror}.") from None
    return path


class EditedError(LessonError):
    """A learner's own work stands where the notebook should be written."""


def _fingerprint(book: Any) -> str:
    """Of the text of the cells; what they printed does not count."""
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in book["cells"]]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def _read(path: Path) -> tuple[str | None, str | None]:
    """(fingerprint of the notebook at ``path``, that which it had when it was made); None for what is not there."""
    try:
        book = json.loads(path.read_text(encoding="utf-8"))
        return _fingerprint(book), book["metadata"].get("dlbox", {}).get("made")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, None


def _once(source: str, seen: set[str], lesson: Lesson) -> str:
    """Without the imports that an earlier page made, and without those of the other page of this lesson."""
    own = tuple(f"from workshops.{page} import" for page in lesson.pages)
    lines = []
    for line in source.splitlines():
        if line.startswith(("import ", "from ")) and not line.endswith("("):
            if line in seen or line.startswith(own):
                continue
            seen.add(line)
        lines.append(line)
    return "\n".join(lines)
