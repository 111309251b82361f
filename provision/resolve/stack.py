"""Resolves cards, distribution, kernel and frameworks to a Stack, or to the reason why no stack exists."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import msgspec

from provision.distributions.distribution_file import DistributionRow, ToolkitRow
from provision.kernels import release_names
from provision.resolve import drivers, reasons, wheels
from provision.resolve.distributions import by_nearness
from provision.resolve.drivers import Refused
from provision.resolve.hardware.cards_in_use import countable, groups
from provision.resolve.load import load
from provision.resolve.model import (
    CardChoice,
    CudaPlan,
    CudnnPlan,
    Nearest,
    NoStack,
    PythonPlan,
    Request,
    Stack,
    Target,
)
from provision.resolve.reasons import Selection
from provision.resolve.rows import StackData

__all__ = ["NoStack", "Request", "Stack", "Target", "resolve"]


def resolve(
    request: Request, data: StackData | None = None, today: datetime.date | None = None
) -> Stack | NoStack:
    """The stack for a machine, or why no stack exists and the nearest request that has one.

    ``today``: the date for warnings about the end of support; None: the current date.
    """
    data = data or load()
    today = today or datetime.datetime.now(datetime.UTC).date()
    try:
        stack = _resolve(request, data, today)
    except Refused as refusal:
        choices = tuple(_choices(request, data, today))
        because = "; ".join((str(refusal), *_choice_texts(choices)))
        return NoStack(because=because, nearest=_nearest(request, data, today), choices=choices)
    limits = tuple(_limits_of_cards(stack, request, data, today))
    return msgspec.structs.replace(stack, warnings=(*stack.warnings, *limits)) if limits else stack


def _resolve(request: Request, data: StackData, today: datetime.date) -> Stack:
    if request.machine_type not in ("", "x86_64"):
        raise Refused(f"dlbox supports x86_64 machines only, and this machine is {request.machine_type}")
    distribution = data.distribution(request.distribution)
    if distribution is None:
        known = ", ".join(row.name for row in data.distributions)
        raise Refused(f"{request.distribution} is not supported ({known})")
    request = countable(request, data)
    for target in request.targets:
        drivers.architecture_of(target, data)
    installs_driver = bool(request.targets) and not request.driver_comes_from_host
    driver = drivers.choose(request, distribution, data) if installs_driver else None
    branch = driver.row.branch if driver else _branch_of_host(request, data) if request.targets else None
    selected = wheels.choose(request, distribution, branch, data)
    wants_toolkit = branch is not None and request.cuda_toolkit
    toolkit = _toolkit(request, distribution, branch, data) if branch and wants_toolkit else None
    selection = Selection(
        request=request,
        data=data,
        distribution=distribution,
        driver=driver,
        branch=branch,
        selected=selected,
        toolkit=toolkit,
    )
    return _assemble(selection, today)


def _branch_of_host(request: Request, data: StackData) -> int:
    """The driver branch of the container's host or of Windows; if it is unknown, the newest branch."""
    return drivers.branch_of(request.driver_version) or max(row.branch for row in data.branches)


def _choices(request: Request, data: StackData, today: datetime.date) -> Iterator[CardChoice]:
    """The groups of cards that have a stack each. Nothing if all cards are of one group."""
    for option, _, stack in _alone(request, data, today):
        yield CardChoice(
            option=option,
            cards=stack.cards,
            driver_branch=stack.driver.branch if stack.driver else None,
            driver_flavour=stack.driver.flavour if stack.driver else None,
            frameworks=tuple(stack.environments),
        )


def _alone(
    request: Request, data: StackData, today: datetime.date
) -> Iterator[tuple[str, tuple[Target, ...], Stack]]:
    """Each group of cards with a stack of its own: its option, its cards and the stack."""
    try:
        found = list(groups(request, countable(request, data)))
    except Refused:
        return
    for option, mine in found if len(found) > 1 else ():
        alone = msgspec.structs.replace(request, targets=mine, cards_chosen=True)
        try:
            yield option, mine, _resolve(alone, data, today)
        except Refused:
            continue


def _choice_texts(choices: tuple[CardChoice, ...]) -> Iterator[str]:
    """ "choose with `--use 0` for the GeForce GTX 1060 6GB (driver 580 closed) or `--use 1` for ..."."""
    if not choices:
        return
    texts = []
    for choice in choices:
        driver = f" (driver {choice.driver_branch} {choice.driver_flavour})" if choice.driver_branch else ""
        texts.append(f"`{choice.option}` for {' and '.join(dict.fromkeys(choice.cards))}{driver}")
    yield f"choose with {' or '.join(texts)}"


def _limits_of_cards(stack: Stack, request: Request, data: StackData, today: datetime.date) -> Iterator[str]:
    """Warn if one group of cards alone would get frameworks that all cards together do not get."""
    for option, mine, alone in _alone(request, data, today):
        more = [
            f"{name} {packages[name]}{f' instead of {mixed[name]}' if mixed else ''}"
            for name, packages in alone.environments.items()
            if name in packages
            and packages != (mixed := stack.environments.get(name, {}))
            and packages[name] != mixed.get(name)
        ]
        if more:
            names = " and ".join(dict.fromkeys(target.name for target in mine))
            yield f"For {names} alone, the plan contains {', '.join(more)}: `{option}` chooses it."


def _toolkit(request: Request, distribution: DistributionRow, branch: int, data: StackData) -> ToolkitRow:
    """The first system toolkit that compiles for every card and runs with the driver. Raises Refused."""
    other_reason = ""
    for row in distribution.toolkits:
        if row.min_driver > branch:
            continue
        refused = drivers.refuse_repository_key(row, distribution)
        if refused is not None:
            other_reason = f"; {refused}"
        elif all(wheels.in_code_range(row.code, drivers.capability_of(t, data)) for t in request.targets):
            return row
    names = " and ".join(dict.fromkeys(t.name for t in request.targets))
    raise Refused(
        f"no CUDA toolkit for {distribution.name} compiles for {names} with driver {branch}{other_reason}"
    )


def _assemble(c: Selection, today: datetime.date) -> Stack:
    backend = next(iter(c.selected.wheels))
    return Stack(
        cards=tuple(target.name for target in c.request.targets),
        distribution=c.distribution.id,
        driver=c.driver.plan if c.driver else None,
        cuda=_cuda(c),
        cudnn=_cudnn(c),
        python=_python(c),
        backend=backend,
        keras=c.data.keras.version,
        environments={name: _packages(c, wheel) for name, wheel in c.selected.wheels.items()},
        requirements={name: _requirements(c, wheel) for name, wheel in c.selected.wheels.items()},
        indexes={n: w.row.index for n, w in c.selected.wheels.items() if w.row.index},
        constraints=_constraints(c),
        missing={str(name): missing.why for name, missing in c.selected.missing.items()},
        reasons=tuple(reasons.reasons(c, backend)),
        warnings=tuple(dict.fromkeys(reasons.warnings(c, today))),
        data_date=c.data.date,
        unused_cards=tuple(target.name for target in c.request.unused),
    )


def _packages(c: Selection, wheel: wheels.Wheel) -> dict[str, str]:
    found = {wheel.row.requirement.partition("[")[0]: wheel.row.pinned, "keras": c.data.keras.version}
    found |= wheel.row.pins
    if wheel.library is not None:
        found[wheel.library.package] = wheel.library.version
    return found


def _requirements(c: Selection, wheel: wheels.Wheel) -> tuple[str, ...]:
    plain = wheel.row.requirement.partition("[")[0]
    return tuple(
        f"{wheel.row.requirement if name == plain else name}=={version}"
        for name, version in _packages(c, wheel).items()
    )


def _constraints(c: Selection) -> tuple[str, ...]:
    found = [f"keras>={c.data.keras.minimum}"]
    for wheel in c.selected.wheels.values():
        found.append(f"{wheel.row.requirement.partition('[')[0]}=={wheel.row.pinned}")
        if wheel.library is not None:
            below = wheels.first_without_code(wheel.library.package, c.request.targets, c.data)
            if below:
                found.append(f"{wheel.library.package}<{below}")
    return tuple(sorted(dict.fromkeys(found)))


def _cuda(c: Selection) -> CudaPlan | None:
    if c.branch is None:
        return None
    row = c.toolkit
    return CudaPlan(
        source="wheels",
        versions={name: wheel.row.cuda or "" for name, wheel in c.selected.wheels.items()},
        toolkit=row.version if row else None,
        toolkit_packages=row.packages if row else (),
        toolkit_repository=drivers.repository(c.distribution)
        if row and row.origin == "nvidia-repository"
        else None,
        toolkit_components=row.components if row else (),
        capabilities=tuple(dict.fromkeys(drivers.capability_of(t, c.data) for t in c.request.targets))
        if row
        else (),
    )


def _cudnn(c: Selection) -> CudnnPlan | None:
    if c.branch is None:
        return None
    libraries = {name: wheel.library for name, wheel in c.selected.wheels.items() if wheel.library}
    limits = [wheels.first_without_code(row.package, c.request.targets, c.data) for row in libraries.values()]
    return CudnnPlan(
        source="wheels",
        versions={name: row.version for name, row in libraries.items()},
        below=next((limit for limit in limits if limit), None),
    )


def _python(c: Selection) -> PythonPlan:
    version, python = c.selected.python, c.data.python
    own = version == c.distribution.python
    return PythonPlan(
        version=version,
        source="distribution" if own else python.tool,
        packages=c.distribution.python_packages,
        install=None if own else f"{python.tool} python install {version}",
        tool_version=None if own else python.tool_version,
    )


def _nearest(request: Request, data: StackData, today: datetime.date) -> Nearest | None:
    """The first small change of the request that has a stack: frameworks, toolkit, fewer cards, another release."""
    for change, candidate in _changes(request, data):
        try:
            stack = _resolve(candidate, data, today)
        except Refused:
            continue
        return Nearest(
            description=change,
            cards=stack.cards,
            distribution=stack.distribution,
            frameworks=tuple(stack.environments),
            driver_branch=stack.driver.branch if stack.driver else None,
            driver_flavour=stack.driver.flavour if stack.driver else None,
            backend=stack.backend,
        )
    return None


def _changes(request: Request, data: StackData) -> Iterator[tuple[str, Request]]:
    replace = msgspec.structs.replace
    if request.flavour is not None or request.branch is not None:
        yield "the same with the driver that dlbox selects", replace(request, flavour=None, branch=None)
    if request.frameworks:
        others = replace(request, frameworks=())
        yield "the frameworks that run on this card", others
    if request.cuda_toolkit:
        yield "the same without a system CUDA toolkit", replace(request, cuda_toolkit=False)
    own = data.distribution(request.distribution)
    if own is not None and release_names.kind_of(own, request.kernel) is not None:
        series = f" ({own.kernel.first_series})" if own.kernel.first_series else ""
        standard = replace(request, kernel="", flavour=None, branch=None, apt_packages=None)
        yield f"the same with {own.name}'s own kernel{series}", standard
        yield (
            f"the frameworks that run, with {own.name}'s own kernel{series}",
            replace(standard, frameworks=(), cuda_toolkit=False),
        )
    families = list(dict.fromkeys(target.architecture for target in request.targets))
    if len(families) > 1:
        for left_out in families:
            others_only = tuple(t for t in request.targets if t.architecture != left_out)
            gone = " and ".join(dict.fromkeys(t.name for t in request.targets if t.architecture == left_out))
            yield f"the same machine without the {gone}", replace(request, targets=others_only)
        for family in families:
            alone = tuple(t for t in request.targets if t.architecture == family)
            names = " and ".join(dict.fromkeys(t.name for t in alone))
            yield f"the {names} alone", replace(request, targets=alone)
    for row in by_nearness(request.distribution, data):
        moved = replace(request, distribution=row.id, kernel="", flavour=None, branch=None, apt_packages=None)
        yield f"the same on {row.name}", moved
        yield (
            f"the frameworks that run, on {row.name}",
            replace(moved, frameworks=(), cuda_toolkit=False),
        )
    if request.targets:
        yield (
            "the CPU builds, without a card",
            replace(request, targets=(), frameworks=(), cuda_toolkit=False),
        )
