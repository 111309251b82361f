"""Reads module_builds.yml: whether a version of NVIDIA's kernel modules compiles for a kernel series."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from common.file_access import yaml_lines
from common.sourced import Sourced
from common.versions import release
from inventory.cards.architectures import Branch, Flavour
from provision.clean_text import shown
from provision.distributions.row_checks import RowChecks, StackFileError
from provision.kernels.release_names import Series, series

PATH = Path(__file__).with_name("module_builds.yml")
SCHEMA_VERSION = 1
MOST_ROWS = 500
BuildVerdict = Literal["compiles", "fails", "unknown"]
_SERIES = re.compile(r"\d{1,3}\.\d{1,3}", re.ASCII)


class BuildRow(Sourced, frozen=True, kw_only=True):
    """The kernels for which the modules of one branch compile, from one version on."""

    branch: Branch
    from_version: str
    """The first version for which the row holds; it holds until the next row of the branch and variant."""
    flavours: tuple[Flavour, ...] = ("open", "closed")
    newest: str
    """The newest kernel series for which the modules are known to compile."""
    fails: str | None
    """The first kernel series for which they are known not to compile; None: none is known."""
    why: str

    def verdict(self, kernel: Series) -> BuildVerdict:
        """Whether the modules compile for a kernel series."""
        newest, fails = series(self.newest), series(self.fails or "")
        if newest is not None and kernel <= newest:
            return "compiles"
        return "fails" if fails is not None and kernel >= fails else "unknown"


class _BuildsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema_version: int
    builds: tuple[BuildRow, ...]


def read(path: Path = PATH) -> tuple[BuildRow, ...]:
    """Read and check the file. Raises StackFileError."""
    try:
        document = yaml_lines.read(path)
        version = document.data.get("schema_version") if isinstance(document.data, dict) else None
        if version != SCHEMA_VERSION:
            found = "nothing" if version is None else f"`{shown(version)}`"
            raise document.error(
                ("schema_version",), f"`schema_version`: expected {SCHEMA_VERSION}, got {found}"
            )
        rows = yaml_lines.convert(document, _BuildsFile).builds
        if len(rows) > MOST_ROWS:
            raise document.error(
                ("builds", MOST_ROWS), f"`builds` has {len(rows)} rows, and at most {MOST_ROWS} are allowed"
            )
        _check(RowChecks(document), rows)
    except yaml_lines.YamlError as error:
        raise StackFileError(str(error)) from None
    return rows


def _check(checks: RowChecks, rows: tuple[BuildRow, ...]) -> None:
    seen: set[tuple[str, Flavour]] = set()
    for index, row in enumerate(rows):
        where = ("builds", index)
        checks.versions(where, "from_version", [row.from_version])
        if not row.from_version.startswith(f"{row.branch}."):
            checks.fail(where, "from_version", f"expected {row.branch}.x, got {row.from_version}")
        for field, value in (("newest", row.newest), ("fails", row.fails)):
            if value is not None and not _SERIES.fullmatch(value):
                checks.fail(where, field, f"expected a kernel series such as 6.17, got {value}")
        newest, fails = series(row.newest), series(row.fails or "")
        if newest is not None and fails is not None and fails <= newest:
            checks.fail(where, "fails", f"expected a series after {row.newest}, got {row.fails}")
        if not row.flavours:
            checks.fail(where, "flavours", "expected open, closed or both")
        for flavour in row.flavours:
            if (row.from_version, flavour) in seen:
                checks.fail(where, "from_version", f"{row.from_version} {flavour} has a row already")
            seen.add((row.from_version, flavour))


def row_for(rows: Iterable[BuildRow], branch: int, version: str, flavour: Flavour) -> BuildRow | None:
    """The row that holds for a version and a variant of the modules; None if nothing is known."""
    found = [
        row
        for row in rows
        if row.branch == branch and flavour in row.flavours and release(row.from_version) <= release(version)
    ]
    return max(found, key=lambda row: release(row.from_version), default=None)
