"""The words of a Stack: why each thing was chosen, and what to look out for."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator

import msgspec

from provision.resolve import drivers, wheels
from provision.resolve.distributions import by_nearness
from provision.resolve.model import Reason, Request
from provision.resolve.rows import DistributionRow, Row, StackData, ToolkitRow
from provision.resolve.versions import allows

WARN_BEFORE_END = datetime.timedelta(days=90)
OLD_DATA = datetime.timedelta(days=180)


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was chosen for one request."""

    request: Request
    data: StackData
    distribution: DistributionRow
    chosen: drivers.Chosen | None
    choice: wheels.Choice
    toolkit: ToolkitRow | None


def reasons(c: Choices, backend: str) -> Iterator[Reason]:
    if c.chosen is not None:
        yield from _driver_reasons(c, c.chosen)
        yield from _cuda_reasons(c)
    yield _python_reason(c)
    for name, wheel in c.choice.wheels.items():
        yield _reason(f"environment {name}", f"{name} {wheel.row.version}", wheel.row.why, wheel.row)
    for name, why in c.choice.missing.items():
        gap = next((g for g in c.data.gaps if g.why.rstrip(".") == why), None)
        row = next((r for r in c.data.frameworks if r.framework == name), None)
        yield _reason(f"environment {name}", "none", why, gap or row or c.data.keras[0])
    yield _reason("keras", c.data.keras[0].version, c.data.keras[0].why, c.data.keras[0])
    yield _backend_reason(c, backend)
    if len(c.choice.wheels) > 1:
        yield _separation_reason(c)


def _driver_reasons(c: Choices, chosen: drivers.Chosen) -> Iterator[Reason]:
    row = chosen.row
    families = {t.architecture: drivers.architecture_of(t, c.data) for t in c.request.targets}
    branch = c.data.branch(row.branch)
    evidence: Row = branch or row
    limits = [f"{f.name.capitalize()}: at most {f.last_branch}." for f in families.values() if f.last_branch]
    if branch is not None and branch.ends is None:
        limits.append("When its support ends is not recorded.")
    yield _reason("driver branch", str(row.branch), _join([(branch or row).why, *limits]), evidence)
    strict = [f for f in families.values() if row.flavour in f.flavours and len(f.flavours) == 1]
    if strict:
        yield _reason("kernel modules", row.flavour, _join(f.why for f in strict), strict[0])
    elif row.flavour == "closed" and branch is not None:
        yield _reason("kernel modules", row.flavour, branch.why, branch)
    else:
        first = next(iter(families.values()))
        why = (
            "NVIDIA's default since 560, and the only modules from branch 615 on; every card here has a GSP."
        )
        yield _reason("kernel modules", row.flavour, why, first)
    yield _reason("driver source", row.origin, row.why, row)


def _cuda_reasons(c: Choices) -> Iterator[Reason]:
    first = next(iter(c.choice.wheels.values()))
    if c.toolkit is not None:
        yield _reason("cuda", f"toolkit {c.toolkit.version}", c.toolkit.why, c.toolkit)
    else:
        why = "CUDA comes inside the wheels; a system toolkit is needed only to compile."
        yield _reason("cuda", "no toolkit", why, first.row)
    for package in dict.fromkeys(w.library.package for w in c.choice.wheels.values() if w.library):
        below = wheels.first_without_code(package, c.request.targets, c.data)
        row = next(w.library for w in c.choice.wheels.values() if w.library and w.library.package == package)
        capability = min((drivers.capability_of(t, c.data) for t in c.request.targets), key=float)
        limit = f" From {below} on there is none for capability {capability}." if below else ""
        versions = dict.fromkeys(
            w.library.version for w in c.choice.wheels.values() if w.library and w.library.package == package
        )
        yield _reason("cudnn", f"{package} {' and '.join(versions)}", row.why + limit, row)


def _python_reason(c: Choices) -> Reason:
    if not c.choice.python_refusals:
        why = f"{c.distribution.name}'s own Python has wheels of everything here."
        return _reason("python", c.choice.python, why, c.distribution)
    why = (
        f"{c.distribution.name} has {c.distribution.python}: {_join(c.choice.python_refusals, '; ')}. "
        + c.data.python[0].why
    )
    return _reason("python", f"{c.choice.python} ({c.data.python[0].tool})", why, c.data.python[0])


def _backend_reason(c: Choices, backend: str) -> Reason:
    row = next(iter(c.choice.wheels.values())).row
    if backend == "tensorflow":
        why = "TensorFlow is Keras's default, and its wheels run here."
    elif "tensorflow" in c.choice.missing:
        why = f"{c.choice.missing['tensorflow']}."
    else:
        why = "The first of the frameworks asked for."
    if backend == "torch":
        why += " Under Keras, torch has cuDNN kernels for LSTM and GRU, JAX for LSTM only."
    return _reason("backend", backend, why, row)


def _separation_reason(c: Choices) -> Reason:
    rows = [wheel.row for wheel in c.choice.wheels.values()]
    clashes = [text for i, a in enumerate(rows) for b in rows[i + 1 :] for text in wheels.incompatible(a, b)]
    why = "An update of one framework must not break another."
    if clashes:
        why = f"They cannot share one: {clashes[0]}."
    return _reason("environments", "one each", why, rows[0])


def warnings(c: Choices, today: datetime.date) -> Iterator[str]:
    plan = c.chosen.plan if c.chosen else None
    if plan is not None:
        yield from _end_of_support(c, plan.branch, plan.ends, today)
        if plan.needs_mok:
            yield (
                "Secure Boot is on and these modules are compiled here: their key must be enrolled in the "
                "firmware (MOK) at the next boot, with somebody at the screen and keyboard."
            )
        elif plan.needs_mok is None:
            yield (
                "Whether Secure Boot is on is not known; if it is, the modules compiled here need their key "
                "enrolled (MOK) at the next boot, with somebody at the screen."
            )
        yield from _cards_that_cannot_train_together(c)
        if c.request.environment in ("container", "wsl2"):
            where = "Windows" if c.request.environment == "wsl2" else "the host"
            yield f"This is a {c.request.environment}: the driver belongs on {where}, not in here."
        for target in c.request.targets:
            if target.capability is None:
                yield (
                    f"{target.name} is not in the catalogue; by its name or id it is of the "
                    f"{(target.architecture or '').capitalize()} family, and the plan takes the family's lowest."
                )
    if today - c.data.date > OLD_DATA:
        yield f"The stack data is of {c.data.date}; a newer file is taken with --stack FILE."


def _cards_that_cannot_train_together(c: Choices) -> Iterator[str]:
    """NCCL moves gradients between cards; its wheels have no code for Maxwell."""
    for name, wheel in c.choice.wheels.items():
        for package, bounds in wheel.row.requires.items():
            known = [
                row for row in c.data.library(package) if "nccl" in package and allows(bounds, row.version)
            ]
            capabilities = [drivers.capability_of(target, c.data) for target in c.request.targets]
            if len(capabilities) < 2 or not known:
                continue
            if not any(all(wheels.has_code(row.code, each) for each in capabilities) for row in known):
                yield (
                    f"{name} cannot train one model on these cards together: {package} has no code for one of them."
                )


def _end_of_support(
    c: Choices, branch: int, ends: datetime.date | None, today: datetime.date
) -> Iterator[str]:
    """Warns from 90 days before a branch's last day on, with where a longer one is to be had."""
    if ends is None:
        return
    left = (ends - today).days
    if left < 0:
        yield (
            f"Support of driver branch {branch} ended on {ends}: it runs, but NVIDIA mends nothing in it any more. "
            + _longer(c, today)
        ).strip()
    elif ends - today <= WARN_BEFORE_END:
        yield f"Support of driver branch {branch} ends on {ends}, in {left} days. {_longer(c, today)}".strip()


def _longer(c: Choices, today: datetime.date) -> str:
    """The nearest release whose own choice for these cards is supported for longer."""
    for row in by_nearness(c.distribution.id, c.data):
        moved = msgspec.structs.replace(c.request, distribution=row.id, kernel="")
        try:
            plan = drivers.choose(moved, row, c.data).plan
        except drivers.Refused:
            continue
        if plan.ends is not None and plan.ends - today > WARN_BEFORE_END:
            return f"{row.name} has branch {plan.branch}, supported until {plan.ends}."
    return ""


def _join(parts: Iterable[str], separator: str = " ") -> str:
    return separator.join(dict.fromkeys(parts))


def _reason(topic: str, choice: str, why: str, row: Row) -> Reason:
    why = why if why.endswith(".") else f"{why}."
    return Reason(
        topic=topic, choice=choice, why=why, source=row.source, verified=row.verified, date=row.date
    )
