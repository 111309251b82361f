"""Small readers of the kernel's text files: nothing here raises when a file is missing or odd."""

from __future__ import annotations

from pathlib import Path

from inventory.machine.reading import Reading


def text(path: Path, limit: int = 1 << 20) -> str | None:
    """The file's content without surrounding white space, or None."""
    try:
        with path.open("rb") as file:
            return file.read(limit).decode("utf-8", "replace").strip()
    except (OSError, ValueError):
        return None


def reading(path: Path) -> Reading[str]:
    """Like ``text``, but it says why there is none."""
    try:
        with path.open("rb") as file:
            content = file.read(1 << 20).decode("utf-8", "replace").strip()
    except PermissionError:
        return Reading.no_permission(f"{path.name} is not readable for this user")
    except (FileNotFoundError, NotADirectoryError):
        return Reading.not_supported(f"this system has no {path.name}")
    except (OSError, ValueError) as error:
        return Reading.failed(f"{path.name}: {getattr(error, 'strerror', None) or error}")
    return Reading.of(content) if content else Reading.not_supported(f"{path.name} is empty")


def whole(path: Path, base: int = 0) -> int | None:
    """A whole number, decimal or with 0x."""
    content = text(path, 64)
    try:
        return int(content, base) if content else None
    except ValueError:
        return None


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, by name; nothing if there is none."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
