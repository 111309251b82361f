"""A lesson as a Jupyter notebook, made from the lesson's own file: there is no second copy to go stale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    return book


def write(lesson: Lesson, folder: Path) -> Path:
    """The notebook as ``folder/STEM.ipynb``; raises LessonError when it cannot be written."""
    import nbformat

    path = folder / f"{lesson.stem}.ipynb"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        nbformat.write(make(lesson), path)
    except OSError as error:
        raise LessonError(f"Cannot write {path}: {error.strerror}.") from None
    return path


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
