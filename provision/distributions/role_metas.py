"""Writes the supported platforms into the metadata of every role: ``python -m provision.distributions.role_metas``.

The distribution files are the source; a test fails if a role's meta/main.yml differs from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from provision.distributions import distribution_file
from provision.distributions.distribution_file import DistributionRow

ROLES = Path(__file__).resolve().parent.parent / "roles"
_PLATFORMS = re.compile(r"^  platforms:\n(?:    .*\n)*", re.MULTILINE)


def platforms(rows: Iterable[DistributionRow]) -> str:
    """The text of `platforms` in galaxy_info: each distribution once, with the codenames of its releases."""
    codenames: dict[str, list[str]] = {}
    for row in rows:
        codenames.setdefault(row.name.partition(" ")[0], []).append(row.codename)
    lines = ["  platforms:\n"]
    for name, releases in codenames.items():
        lines += [f"    - name: {name}\n", f"      versions: [{', '.join(releases)}]\n"]
    return "".join(lines)


def changed_metas(roles: Path, rows: Iterable[DistributionRow]) -> Iterator[tuple[Path, str]]:
    """Each meta/main.yml whose platforms differ from the distribution files, with its new text."""
    block = platforms(rows)
    for path in sorted(roles.glob("*/meta/main.yml")):
        text = path.read_text(encoding="utf-8")
        new = _PLATFORMS.sub(lambda _: block, text)
        if new != text:
            yield path, new


def shipped() -> list[DistributionRow]:
    """The distribution files that come with dlbox. Raises StackFileError."""
    return [distribution_file.read(path)[1] for path in distribution_file.files(distribution_file.FOLDER)]


if __name__ == "__main__":
    for meta, content in changed_metas(ROLES, shipped()):
        meta.write_text(content, encoding="utf-8")
