"""Readers of the kernel's small text files. They raise no error if a file is missing or invalid."""

from __future__ import annotations

from pathlib import Path

from inventory.machine.reading import Reading


def text(path: Path, limit: int = 1 << 20) -> str | None:
    """Content of the file without surrounding white space; None if the file cannot be read. ``limit``: maximum number
    of
    bytes to read."""
    try:
        with path.open("rb") as file:
            return file.read(limit).decode("utf-8", "replace").strip()
    except (OSError, ValueError):
        return None


def reading(path: Path) -> Reading[str]:
    """Like ``text``, but gives the reason if the file cannot be read."""
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
    """The integer in the file, decimal or hexadecimal with 0x. None: the file has no integer or cannot be read."""
    content = text(path, 64)
    try:
        return int(content, base) if content else None
    except ValueError:
        return None


def entries(folder: Path) -> list[Path]:
    """The files and folders in a folder, sorted by name; empty if it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
