"""Cards, distribution, kernel and wanted frameworks -> Stack, or why there is none."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import msgspec

from provision.resolve import drivers, reasons, wheels
from provision.resolve.distributions import by_nearness
from provision.resolve.drivers import Refused
from provision.resolve.load import load
from provision.resolve.model import CudaPlan, CudnnPlan, Nearest, NoStack, PythonPlan, Request, Stack, Target
from provision.resolve.reasons import Choices
from provision.resolve.rows import DistributionRow, StackData, ToolkitRow

__all__ = ["NoStack", "Request", "Stack", "Target", "resolve"]


def resolve(
    request: Request, data: StackData | None = None, today: datetime.date | None = None
) -> Stack | NoStack:
    """The stack for a box, or why none exists and the nearest request that has one.

    ``today`` is what support ends are counted from; by default the day of the call.
    """
    data = data or load()
    today = today or datetime.datetime.now(datetime.UTC).date()
    try:
        return _resolve(request, data, today)
    except Refused as refusal:
        return NoStack(because=str(refusal), nearest=_nearest(request, data, today))


def _resolve(request: Request, data: StackData, today: datetime.date) -> Stack:
    if request.machine_type not in ("", "x86_64"):
        raise Refused(f"drivers and wheels here are for x86_64 machines, and this is {request.machine_type}")
    distribution = data.distribution(request.distribution)
    if distribution is None:
        known = ", ".join(row.name for row in data.distributions)
        raise Refused(f"{request.distribution} is not covered ({known})")
    for target in request.targets:
        drivers.architecture_of(target, data)
    chosen = drivers.choose(request, distribution, data) if request.targets else None
    choice = wheels.choose(request, distribution, chosen.row.branch if chosen else None, data)
    toolkit = (
        _toolkit(request, distribution, chosen.row.branch, data) if chosen and request.cuda_toolkit else None
    )
    choices = Choices(
        request=request, data=data, distribution=distribution, chosen=chosen, choice=choice, toolkit=toolkit
    )
    return _assemble(choices, today)


def _toolkit(request: Request, distribution: DistributionRow, branch: int, data: StackData) -> ToolkitRow:
    """The first system toolkit that compiles for every card and runs under the driver. Raises Refused."""
    unkept = ""
    for row in data.toolkits:
        if distribution.id not in row.distributions or row.min_driver > branch:
            continue
        refused = drivers.refuse_repository_key(row, distribution, data)
        if refused is not None:
            unkept = f"; {refused}"
        elif all(wheels.in_code_range(row.code, drivers.capability_of(t, data)) for t in request.targets):
            return row
    names = " and ".join(dict.fromkeys(t.name for t in request.targets))
    raise Refused(
        f"no CUDA toolkit for {distribution.name} compiles for {names} under driver {branch}{unkept}"
    )


def _assemble(c: Choices, today: datetime.date) -> Stack:
    backend = next(iter(c.choice.wheels))
    return Stack(
        cards=tuple(target.name for target in c.request.targets),
        distribution=c.distribution.id,
        driver=c.chosen.plan if c.chosen else None,
        cuda=_cuda(c),
        cudnn=_cudnn(c),
        python=_python(c),
        backend=backend,
        keras=c.data.keras[0].version,
        environments={name: _packages(c, wheel) for name, wheel in c.choice.wheels.items()},
        requirements={name: _requirements(c, wheel) for name, wheel in c.choice.wheels.items()},
        indexes={n: w.row.index for n, w in c.choice.wheels.items() if w.row.index},
        constraints=_constraints(c),
        missing={str(name): why for name, why in c.choice.missing.items()},
        reasons=tuple(reasons.reasons(c, backend)),
        warnings=tuple(reasons.warnings(c, today)),
        data_date=c.data.date,
    )


def _packages(c: Choices, wheel: wheels.Wheel) -> dict[str, str]:
    found = {wheel.row.requirement.partition("[")[0]: wheel.row.version, "keras": c.data.keras[0].version}
    found |= wheel.row.pins
    if wheel.library is not None:
        found[wheel.library.package] = wheel.library.version
    return found


def _requirements(c: Choices, wheel: wheels.Wheel) -> tuple[str, ...]:
    plain = wheel.row.requirement.partition("[")[0]
    return tuple(
        f"{wheel.row.requirement if name == plain else name}=={version}"
        for name, version in _packages(c, wheel).items()
    )


def _constraints(c: Choices) -> tuple[str, ...]:
    found = [f"keras>={c.data.keras[0].minimum}"]
    for wheel in c.choice.wheels.values():
        found.append(f"{wheel.row.requirement.partition('[')[0]}=={wheel.row.version}")
        if wheel.library is not None:
            below = wheels.first_without_code(wheel.library.package, c.request.targets, c.data)
            if below:
                found.append(f"{wheel.library.package}<{below}")
    return tuple(sorted(dict.fromkeys(found)))


def _cuda(c: Choices) -> CudaPlan | None:
    if c.chosen is None:
        return None
    row = c.toolkit
    return CudaPlan(
        source="wheels",
        versions={name: wheel.row.cuda or "" for name, wheel in c.choice.wheels.items()},
        toolkit=row.version if row else None,
        toolkit_packages=row.packages if row else (),
        toolkit_repository=drivers.repository(c.distribution.id, c.data)
        if row and row.origin == "nvidia-repository"
        else None,
        toolkit_components=row.components if row else (),
        capabilities=tuple(dict.fromkeys(drivers.capability_of(t, c.data) for t in c.request.targets))
        if row
        else (),
    )


def _cudnn(c: Choices) -> CudnnPlan | None:
    if c.chosen is None:
        return None
    libraries = {name: wheel.library for name, wheel in c.choice.wheels.items() if wheel.library}
    limits = [wheels.first_without_code(row.package, c.request.targets, c.data) for row in libraries.values()]
    return CudnnPlan(
        source="wheels",
        versions={name: row.version for name, row in libraries.items()},
        below=next((limit for limit in limits if limit), None),
    )


def _python(c: Choices) -> PythonPlan:
    version, python = c.choice.python, c.data.python[0]
    own = version == c.distribution.python
    return PythonPlan(
        version=version,
        source="distribution" if own else python.tool,
        packages=c.distribution.python_packages,
        install=None if own else f"{python.tool} python install {version}",
        tool_version=None if own else python.tool_version,
    )


def _nearest(request: Request, data: StackData, today: datetime.date) -> Nearest | None:
    """The first small change that has a stack: other frameworks, no toolkit, fewer cards, another release."""
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
    if request.frameworks:
        others = replace(request, frameworks=())
        yield "the frameworks that do run on this card", others
    if request.cuda_toolkit:
        yield "the same without a system CUDA toolkit", replace(request, cuda_toolkit=False)
    families = list(dict.fromkeys(target.architecture for target in request.targets))
    if len(families) > 1:
        for left_out in families:
            kept = tuple(t for t in request.targets if t.architecture != left_out)
            gone = " and ".join(dict.fromkeys(t.name for t in request.targets if t.architecture == left_out))
            yield f"the box without the {gone}", replace(request, targets=kept)
        for family in families:
            kept = tuple(t for t in request.targets if t.architecture == family)
            yield (
                f"the {' and '.join(dict.fromkeys(t.name for t in kept))} alone",
                replace(request, targets=kept),
            )
    for row in by_nearness(request.distribution, data):
        moved = replace(request, distribution=row.id, kernel="")
        yield f"the same on {row.name}", moved
        yield (
            f"the frameworks that do run, on {row.name}",
            replace(moved, frameworks=(), cuda_toolkit=False),
        )
    if request.targets:
        yield (
            "the CPU builds, without a card",
            replace(request, targets=(), frameworks=(), cuda_toolkit=False),
        )
