"""Selects Python, frameworks and cuDNN: wheels that contain code for every card, one environment per framework."""

from __future__ import annotations

import msgspec

from common.backends import BACKENDS
from common.sourced import Sourced
from common.versions import allows, in_python_range, release, version_range
from provision.distributions.distribution_file import DistributionRow
from provision.resolve.drivers import Refused, architecture_of, capability_of
from provision.resolve.hardware.processor import lacks, refuse_processor
from provision.resolve.model import Request, Target
from provision.resolve.rows import Framework, FrameworkRow, LibraryRow, StackData


class Wheel(msgspec.Struct, frozen=True):
    """One wheel of a framework, and the cuDNN wheel that it loads."""

    row: FrameworkRow
    library: LibraryRow | None


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """Why a framework has no wheel for the request, and the data row that shows it."""

    why: str
    row: Sourced


class SelectedWheels(msgspec.Struct, frozen=True, kw_only=True):
    """One Python version, and one wheel per framework that has wheels for it."""

    python: str
    wheels: dict[Framework, Wheel]
    missing: dict[Framework, Missing]
    python_refusals: tuple[str, ...]
    """Why the distribution's own Python does not fit; empty if it fits."""


def has_code(code: tuple[str, ...], capability: str) -> bool:
    """Whether GPU code for ``code`` runs on a card. 8.0 code runs on 8.6, but neither on 9.0 nor on 7.5."""
    major, minor = _capability(capability)
    return any(m == major and n <= minor for m, n in map(_capability, code))


def in_code_range(code: tuple[str, str], capability: str) -> bool:
    """Whether a compiler that supports a range of capabilities, both ends included, supports this one."""
    return _capability(code[0]) <= _capability(capability) <= _capability(code[1])


def _capability(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


def refuse_code(row: FrameworkRow, target: Target, data: StackData) -> str | None:
    """Refuse a wheel without code for the card: it would fail, or train on the CPU without a message."""
    capability = capability_of(target, data)
    if not has_code(row.code, capability):
        return (
            f"{row.framework} {row.version} does not support {target.name}, whose compute capability is {capability} "
            f"(supported: {', '.join(row.code)})"
        )
    if row.documented_from and _capability(capability) < _capability(row.documented_from):
        return (
            f"{row.framework} supports compute capability {row.documented_from} and higher, "
            f"and {target.name} has {capability}"
        )
    return None


def refuse_driver(row: FrameworkRow, branch: int) -> str | None:
    """Refuse a wheel that needs a newer driver: CUDA 13 needs driver 580, CUDA 12 needs 525."""
    if row.min_driver is not None and branch < row.min_driver:
        return f"{row.framework} {row.version} needs driver {row.min_driver} or later, and the driver is {branch}"
    return None


def refuse_index(row: FrameworkRow, request: Request) -> str | None:
    """Refuse a wheel from a further package index if the machine cannot use such an index."""
    if row.index is not None and not request.further_indexes:
        return f"{row.framework} {row.pinned} comes from {row.index}, and only PyPI or its mirror may be used"
    return None


def refuse_python(row: FrameworkRow, python: str) -> str | None:
    """Refuse a framework version that has no wheel for this Python."""
    if not in_python_range(python, row.python):
        low, high = row.python
        return f"{row.framework} {row.version} has wheels for Python {low} to {high}, not {python}"
    return None


def library_for(row: FrameworkRow, targets: tuple[Target, ...], data: StackData) -> LibraryRow | None:
    """The first cuDNN wheel that the framework's range allows and that contains code for every card."""
    if row.library is None:
        return None
    for library in data.library(row.library):
        allowed = allows(row.requires.get(row.library, ""), library.version)
        if allowed and all(has_code(library.code, capability_of(t, data)) for t in targets):
            return library
    return None


def first_without_code(package: str, targets: tuple[Target, ...], data: StackData) -> str | None:
    """The first release of a library ("9.11") without code for one of the cards, although earlier releases contain
    it."""
    capabilities = [capability_of(target, data) for target in targets]
    serving = [
        release(row.version)
        for row in data.library(package)
        if all(has_code(row.code, c) for c in capabilities)
    ]
    lacking = [
        release(row.version)
        for row in data.library(package)
        if not all(has_code(row.code, c) for c in capabilities)
    ]
    after = sorted(version for version in lacking if serving and version > max(serving))
    return ".".join(str(part) for part in after[0].release[:2]) if after else None


def incompatible(first: FrameworkRow, second: FrameworkRow) -> list[str]:
    """One sentence per package for which no version lies in the ranges of both frameworks."""
    found = []
    for name in sorted(first.requires.keys() & second.requires.keys()):
        both = f"{first.requires[name]},{second.requires[name]}"
        mentioned = [clause.version for clause in version_range(both)]
        if not any(allows(both, version) for version in mentioned):
            found.append(
                f"{first.framework} {first.version} requires {name}{first.requires[name]}, "
                f"{second.framework} {second.version} requires {name}{second.requires[name]}"
            )
    return found


def choose(
    request: Request, distribution: DistributionRow, branch: int | None, data: StackData
) -> SelectedWheels:
    """One Python version and one wheel per framework. ``branch``: of the driver; None: CPU builds. Raises Refused."""
    pythons = _pythons(distribution, data)
    wanted = request.frameworks or BACKENDS
    possible = {
        framework: {p: wheel for p in pythons if (wheel := _wheel(framework, p, request, branch, data))}
        for framework in wanted
    }
    missing = {
        framework: _why_none(framework, pythons, request, branch, data)
        for framework in wanted
        if not possible[framework]
    }
    if request.frameworks and missing:
        raise Refused("; ".join(each.why for each in missing.values()))
    found = [framework for framework in BACKENDS if possible.get(framework)]
    if not found:
        raise Refused("; ".join(each.why for each in missing.values()))
    for python in pythons:
        if all(python in possible[framework] for framework in found):
            own = python == distribution.python
            return SelectedWheels(
                python=python,
                wheels={framework: possible[framework][python] for framework in found},
                missing=missing,
                python_refusals=() if own else _own_python(distribution, found, request, branch, data),
            )
    raise Refused(f"no single version of Python has wheels of {' and '.join(found)} for these cards")


def _pythons(distribution: DistributionRow, data: StackData) -> list[str]:
    """Python versions that run dlbox and Keras: the distribution's own first, then those that uv can install."""
    candidates = dict.fromkeys((distribution.python, *data.python.preferred))
    return [p for p in candidates if not _refuse_python_itself(p, data)]


def _refuse_python_itself(python: str, data: StackData) -> list[str]:
    keras, dlbox = data.keras, data.python.dlbox
    found = []
    if not in_python_range(python, keras.python):
        found.append(f"Keras {keras.version} needs Python {keras.python[0]} to {keras.python[1]}")
    if not in_python_range(python, dlbox):
        found.append(f"dlbox itself needs Python {dlbox[0]} to {dlbox[1]}")
    return found


def _refusal(
    row: FrameworkRow, python: str, request: Request, branch: int | None, data: StackData
) -> str | None:
    if branch is not None:
        for target in request.targets:
            why = refuse_code(row, target, data)
            if why:
                return why
        why = refuse_driver(row, branch)
        if why:
            return why
        if row.library and library_for(row, request.targets, data) is None:
            names = " and ".join(t.name for t in request.targets)
            return f"no {row.library} that {row.framework} {row.version} accepts contains code for {names}"
    return refuse_index(row, request) or refuse_python(row, python)


def _rows(framework: Framework, branch: int | None, data: StackData) -> list[FrameworkRow]:
    device = "cpu" if branch is None else "gpu"
    return [row for row in data.frameworks if row.framework == framework and row.device == device]


def _wheel(
    framework: Framework, python: str, request: Request, branch: int | None, data: StackData
) -> Wheel | None:
    if refuse_processor(framework, request, data) is not None:
        return None
    for row in _rows(framework, branch, data):
        if _refusal(row, python, request, branch, data) is None:
            return Wheel(row, library_for(row, request.targets, data))
    return None


def _why_none(
    framework: Framework, pythons: list[str], request: Request, branch: int | None, data: StackData
) -> Missing:
    if branch is not None:
        names = {architecture_of(target, data).name for target in request.targets}
        for gap in data.gaps:
            if gap.framework == framework and names & set(gap.architectures):
                return Missing(why=gap.why.rstrip("."), row=gap)
    processor = refuse_processor(framework, request, data)
    if processor is not None:
        return Missing(why=lacks(processor, request), row=processor)
    rows = _rows(framework, branch, data)
    why = _refusal(rows[0], pythons[0], request, branch, data) if rows and pythons else None
    return Missing(why=why or f"dlbox knows no {framework} wheel", row=rows[0] if rows else data.keras)


def _own_python(
    distribution: DistributionRow,
    frameworks: list[Framework],
    request: Request,
    branch: int | None,
    data: StackData,
) -> tuple[str, ...]:
    """Why the distribution's own Python does not fit: a framework, Keras or dlbox does not support it."""
    found: list[str] = []
    for framework in frameworks:
        if _wheel(framework, distribution.python, request, branch, data) is None:
            highest = max((row.python[1] for row in _rows(framework, branch, data)), key=release)
            if release(distribution.python) > release(highest):
                found.append(f"no stable {framework} wheel exists for Python {distribution.python}")
            else:
                which = f"{framework} wheel for these cards" if request.targets else f"{framework} wheel"
                found.append(f"no {which} exists for Python {distribution.python}")
    return (*found, *_refuse_python_itself(distribution.python, data))
