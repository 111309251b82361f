"""A temporary folder with the files of another computer, for the readers of ``inventory.machine``.

Names come from a report, so nothing is written or linked outside the folder.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath


class Root:
    """The files of a computer below ``folder``, an empty folder of this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.realpath(folder))

    def write(self, path: str, content: str | bytes = b"") -> bool:
        """Write a file, and its folders. False: the path is not usable, or is a folder or a link already."""
        place = self._place(path)
        if place is None:
            return False
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.is_symlink() or not self._inside(place.parent):
                return False
            place.write_bytes(content.encode("utf-8", "replace") if isinstance(content, str) else content)
        except (OSError, ValueError):
            return False
        return True

    def make_folder(self, path: str) -> bool:
        """Make a folder. False: the path is not usable."""
        place = self._place(path)
        if place is None:
            return False
        try:
            place.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError):
            return False
        return self._inside(place)

    def link(self, path: str, target: str, *, to_folder: bool = False) -> bool:
        """Make a link and, if it is missing, the file or folder that it leads to. False: it would lead outside."""
        place = self._place(path)
        if place is None or not target or "\0" in target:
            return False
        below = PurePosixPath(path.strip("/")).parent
        inner = os.path.normpath(target.lstrip("/") if target.startswith("/") else below / target)
        goal = self._place(inner)
        if goal is None:
            return False
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if Path(os.path.realpath(place.parent)) != place.parent or os.path.lexists(place):
                return False  # with links among the parents, "..", read as text, would be another folder
            if to_folder:
                goal.mkdir(parents=True, exist_ok=True)
            elif not goal.exists():
                self.write(inner)
            place.symlink_to(os.path.relpath(goal, place.parent))
        except (OSError, ValueError):
            return False
        return True

    def text(self, path: str) -> str:
        """The text of a file that this object wrote; "" if there is none."""
        place = self._place(path)
        try:
            return place.read_text(errors="replace") if place is not None and place.is_file() else ""
        except OSError:
            return ""

    def has(self, path: str) -> bool:
        place = self._place(path)
        return place is not None and place.exists()

    def _place(self, path: str) -> Path | None:
        parts = PurePosixPath(path.lstrip("/")).parts
        usable = parts and not any(part in ("..", ".") or "\0" in part or len(part) > 200 for part in parts)
        return self.folder.joinpath(*parts) if usable and len(parts) < 40 else None

    def _inside(self, place: Path) -> bool:
        real = Path(os.path.realpath(place))
        return real == self.folder or self.folder in real.parents
