"""The reasons and warnings of a Stack: why each version was selected, and what the user must know."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator

import msgspec

from common.sourced import Sourced
from common.versions import allows
from provision.distributions.distribution_file import DistributionRow, ToolkitRow
from provision.kernels import release_names
from provision.resolve import drivers, wheels
from provision.resolve.distributions import by_nearness
from provision.resolve.hardware.cards_in_use import PASSTHROUGH
from provision.resolve.hardware.processor import refuse_processor
from provision.resolve.model import DriverPlan, Reason, Request
from provision.resolve.rows import StackData

WARN_BEFORE_END = datetime.timedelta(days=90)
OLD_DATA = datetime.timedelta(days=180)


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was selected for one request."""

    request: Request
    data: StackData
    distribution: DistributionRow
    driver: drivers.SelectedDriver | None
    """The driver to install. None without a card, and where the host or Windows installs the driver."""
    branch: int | None
    """The driver branch for which the wheels are selected; None without a card."""
    selected: wheels.SelectedWheels
    toolkit: ToolkitRow | None


def reasons(c: Selection, backend: str) -> Iterator[Reason]:
    """One reason per selected version, with the source of its row. ``backend``: the default of Keras."""
    if c.driver is not None:
        yield from _driver_reasons(c, c.driver)
    elif c.branch is not None:
        yield _host_driver_reason(c)
    if c.branch is not None:
        yield from _cuda_reasons(c)
    yield _python_reason(c)
    for name, wheel in c.selected.wheels.items():
        yield _reason(f"environment {name}", f"{name} {wheel.row.pinned}", wheel.row.why, wheel.row)
    for name, missing in c.selected.missing.items():
        yield _reason(f"environment {name}", "none", missing.why, missing.row)
    yield _reason("keras", c.data.keras.version, c.data.keras.why, c.data.keras)
    yield _backend_reason(c, backend)
    if len(c.selected.wheels) > 1:
        yield _separation_reason(c)


def _driver_reasons(c: Selection, driver: drivers.SelectedDriver) -> Iterator[Reason]:
    row = driver.row
    families = {t.architecture: drivers.architecture_of(t, c.data) for t in c.request.targets}
    branch = c.data.branch(row.branch)
    evidence: Sourced = branch or row
    limits = [
        f"The last branch for {f.name.capitalize()} is {f.last_branch}."
        for f in families.values()
        if f.last_branch
    ]
    if branch is not None and branch.ends is None:
        limits.append("The end of support of this branch is not known.")
    yield _reason("driver branch", str(row.branch), _join([(branch or row).why, *limits]), evidence)
    strict = [f for f in families.values() if row.flavour in f.flavours and len(f.flavours) == 1]
    if strict:
        yield _reason("kernel modules", row.flavour, _join(f.why for f in strict), strict[0])
    elif row.flavour == "closed" and branch is not None:
        yield _reason("kernel modules", row.flavour, branch.why, branch)
    else:
        first = next(iter(families.values()))
        why = (
            "The open modules are NVIDIA's default since branch 560 and the only modules from 615 on, "
            "and every card has the GSP that they need."
        )
        yield _reason("kernel modules", row.flavour, why, first)
    yield _reason("driver source", row.origin, row.why, row)
    if driver.build is not None and driver.verdict == "compiles":
        series = release_names.shown_series(release_names.series(c.request.kernel))
        why = f"The modules of {row.version} compile for kernels up to {driver.build.newest}. {driver.build.why}"
        yield _reason("kernel", series, why, driver.build)


def _host_driver_reason(c: Selection) -> Reason:
    """Why the plan has no driver: a container and WSL2 use the driver of another system."""
    here, there = _host_names(c.request)
    row = drivers.architecture_of(c.request.targets[0], c.data)
    version = c.request.driver_version
    why = f"{here[0].upper()}{here[1:]} uses the driver of {there}, so the plan contains no driver package."
    return _reason("driver", version or "not known", why, row)


def _host_names(request: Request) -> tuple[str, str]:
    """This system, and the system that installs its driver."""
    return ("WSL2", "Windows") if request.environment == "wsl2" else ("a container", "the host")


def _cuda_reasons(c: Selection) -> Iterator[Reason]:
    first = next(iter(c.selected.wheels.values()))
    if c.toolkit is not None:
        yield _reason("cuda", f"toolkit {c.toolkit.version}", c.toolkit.why, c.toolkit)
    else:
        why = "The wheels contain CUDA; a system toolkit is needed only to compile."
        yield _reason("cuda", "no toolkit", why, first.row)
    for package in dict.fromkeys(w.library.package for w in c.selected.wheels.values() if w.library):
        below = wheels.first_without_code(package, c.request.targets, c.data)
        row = next(
            w.library for w in c.selected.wheels.values() if w.library and w.library.package == package
        )
        capability = min((drivers.capability_of(t, c.data) for t in c.request.targets), key=float)
        limit = (
            f" Version {below} and later contain no code for compute capability {capability}."
            if below
            else ""
        )
        versions = dict.fromkeys(
            w.library.version
            for w in c.selected.wheels.values()
            if w.library and w.library.package == package
        )
        yield _reason("cudnn", f"{package} {' and '.join(versions)}", row.why + limit, row)


def _python_reason(c: Selection) -> Reason:
    if not c.selected.python_refusals:
        why = f"Every package has wheels for the Python of {c.distribution.name}."
        return _reason("python", c.selected.python, why, c.distribution)
    why = (
        f"{c.distribution.name} brings Python {c.distribution.python}, but {_join(c.selected.python_refusals, '; ')}. "
        + c.data.python.why
    )
    return _reason("python", f"{c.selected.python} ({c.data.python.tool})", why, c.data.python)


def _backend_reason(c: Selection, backend: str) -> Reason:
    row = next(iter(c.selected.wheels.values())).row
    if backend == "tensorflow":
        why = "TensorFlow is the default backend of Keras, and its wheels support the cards."
    elif "tensorflow" in c.selected.missing:
        why = f"{c.selected.missing['tensorflow'].why}."
    else:
        why = "The default backend of Keras is the first of the requested frameworks."
    if backend == "torch":
        why += " With Keras, torch has cuDNN kernels for LSTM and GRU, and JAX has them for LSTM only."
    return _reason("backend", backend, why, row)


def _separation_reason(c: Selection) -> Reason:
    rows = [wheel.row for wheel in c.selected.wheels.values()]
    clashes = [text for i, a in enumerate(rows) for b in rows[i + 1 :] for text in wheels.incompatible(a, b)]
    why = "The update of one framework must not break another framework."
    if clashes:
        why = f"The frameworks cannot share one environment: {clashes[0]}."
    return _reason("environments", "one each", why, rows[0])


def warnings(c: Selection, today: datetime.date) -> Iterator[str]:
    """Facts that the user must know before the installation, one or more sentences each."""
    plan = c.driver.plan if c.driver else None
    if plan is not None:
        yield from _end_of_support(c, plan.branch, plan.ends, today)
        if plan.needs_mok:
            yield (
                "Secure Boot is on and DKMS compiles these modules: their key must be enrolled in the firmware (MOK) "
                "at the next boot, and this needs a person at the screen and keyboard of the machine."
            )
        elif plan.needs_mok is None:
            yield (
                "Whether Secure Boot is on is not known. If it is on, the key of the compiled modules must be enrolled "
                "in the firmware (MOK) at the next boot, and this needs a person at the screen of the machine."
            )
        yield from _kernel_warnings(c)
        yield from _loaded_driver(c, plan)
    elif c.branch is not None:
        yield from _driver_of_host(c)
    if c.branch is not None:
        yield from _cards_that_cannot_train_together(c)
    for target in c.request.targets:
        family = (target.architecture or "").capitalize()
        if target.alternatives:
            others = ", ".join(target.alternatives)
            yield f"The plan is for the {target.name}; the short name can also mean {others}."
        if target.capability is None:
            yield (
                f"{target.name} is not in the catalogue of cards. Its name or PCI id says {family}, "
                f"and the plan assumes the lowest compute capability of {family}."
            )
    yield from _unused_cards(c)
    yield from _processor(c)
    if c.request.environment == "wsl2" and c.request.kernel.endswith("-Microsoft"):
        yield "This is WSL1, which cannot use a card: convert it on Windows with `wsl --set-version NAME 2`."
    if today - c.data.date > OLD_DATA:
        yield f"The stack data is from {c.data.date}: pass a newer file with --stack FILE."


_REAL_TIME = re.compile(r"-(rt\d*|realtime)\b")


def _kernel_warnings(c: Selection) -> Iterator[str]:
    """Warn about modules that may not compile, and about headers from another source than the distribution."""
    driver, kernel = c.driver, c.request.kernel
    if driver is None or driver.row.origin == "prebuilt" or not kernel:
        return
    if driver.verdict == "unknown":
        known = f"up to {driver.build.newest}" if driver.build else "for no kernel"
        yield (
            f"It is not known whether driver {driver.row.version} compiles for kernel {kernel} (known: {known}). If it "
            f"does not, use the kernel of {c.distribution.name}."
        )
    if _REAL_TIME.search(kernel):
        yield (
            f"Kernel {kernel} is a real-time kernel (PREEMPT_RT). NVIDIA's modules refuse to compile for such kernels: "
            f"use another kernel of {c.distribution.name}."
        )
    kind = release_names.kind_of(c.distribution, kernel)
    if kind is not None and kind.headers_source and kernel not in c.request.compiled_headers:
        package = release_names.headers_package(c.distribution, kernel)
        yield (
            f"Kernel {kernel} is {kind.name}. The archive of {c.distribution.name} does not have its headers, which "
            f"the modules need to compile: {package} comes from {kind.headers_source}."
        )


def _loaded_driver(c: Selection, plan: DriverPlan) -> Iterator[str]:
    """Say that the plan replaces the driver that runs now."""
    loaded = drivers.branch_of(c.request.driver_version)
    if loaded is not None and loaded != plan.branch:
        yield (
            f"Driver {c.request.driver_version} is loaded now. The plan replaces it with branch {plan.branch} "
            f"({plan.flavour}) from another package: the next boot loads the new one."
        )


def _driver_of_host(c: Selection) -> Iterator[str]:
    """What the host of a container, or Windows, must have installed."""
    here, there = _host_names(c.request)
    yield f"This is {here}: install the driver on {there}, not inside {here}."
    needed = max((w.row.min_driver or 0 for w in c.selected.wheels.values()), default=0)
    loaded = drivers.branch_of(c.request.driver_version)
    if loaded is None:
        yield f"The driver version of {there} is not known; the wheels need driver {needed} or later there."
        return
    for target in dict.fromkeys(c.request.targets):
        first = drivers.architecture_of(target, c.data).first_branch
        if loaded < first:
            yield f"{target.name} needs driver {first} or later, and {there} has {loaded}: update it on {there}."


def _unused_cards(c: Selection) -> Iterator[str]:
    """Cards of the machine that the plan does not count on, and what this means for each."""
    used = " and ".join(dict.fromkeys(target.name for target in c.request.targets))
    for target in dict.fromkeys(c.request.unused):
        if target.maker != "NVIDIA":
            yield f"{target.name} is a card by {target.maker}: it is not used for training and keeps its own driver."
        elif target.bound_driver in PASSTHROUGH:
            yield f"{target.name} is reserved for a virtual machine ({target.bound_driver}): the plan leaves it out."
        elif not drivers.is_supported(target, c.data):
            family = (target.architecture or "older").capitalize()
            driver = f"driver {c.branch} does not support it" if c.branch else "no current driver supports it"
            screen = f": connect the screen to {used}, or to the mainboard" if used and c.driver else ""
            yield f"{target.name} ({family}) is not used for training, and {driver}{screen}."
        elif c.driver is not None and drivers.refuse_card(c.driver.row, target, c.data):
            why = drivers.refuse_card(c.driver.row, target, c.data)
            yield f"{target.name} is left out and gets no driver from this plan: {why}."
        else:
            yield f"{target.name} is left out: hide it from the frameworks with CUDA_VISIBLE_DEVICES."


def _processor(c: Selection) -> Iterator[str]:
    """Name the frameworks that the processor cannot run, and those that it can."""
    lacking = [row for row in c.data.processors if refuse_processor(row.framework, c.request, c.data) is row]
    if lacking:
        names = " and ".join(dict.fromkeys(row.framework for row in lacking))
        runs = " and ".join(c.selected.wheels)
        flags = " and ".join(dict.fromkeys(flag.upper() for row in lacking for flag in row.needs))
        yield f"The processor has no {flags}, which the wheels of {names} need. {runs} runs without it."


def _cards_that_cannot_train_together(c: Selection) -> Iterator[str]:
    """Warn about cards that cannot train together: NCCL's wheels contain no code for Maxwell."""
    for name, wheel in c.selected.wheels.items():
        for package, bounds in wheel.row.requires.items():
            known = [
                row for row in c.data.library(package) if "nccl" in package and allows(bounds, row.version)
            ]
            capabilities = [drivers.capability_of(target, c.data) for target in c.request.targets]
            if len(capabilities) < 2 or not known:
                continue
            if not any(all(wheels.has_code(row.code, each) for each in capabilities) for row in known):
                yield (
                    f"{name} cannot train one model on these cards together: "
                    f"{package} contains no code for one of them."
                )


def _end_of_support(
    c: Selection, branch: int, ends: datetime.date | None, today: datetime.date
) -> Iterator[str]:
    """Warn if support ends within 90 days, and name a release with longer support."""
    if ends is None:
        return
    left = (ends - today).days
    if left < 0:
        yield (
            f"Support of driver branch {branch} ended on {ends}: it runs, but NVIDIA no longer fixes it. "
            + _longer(c, today)
        ).strip()
    elif ends - today <= WARN_BEFORE_END:
        yield f"Support of driver branch {branch} ends on {ends}, in {left} days. {_longer(c, today)}".strip()


def _longer(c: Selection, today: datetime.date) -> str:
    """The nearest release whose driver branch for these cards has longer support."""
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


def _reason(topic: str, choice: str, why: str, row: Sourced) -> Reason:
    why = why if why.endswith(".") else f"{why}."
    return Reason(
        topic=topic, choice=choice, why=why, source=row.source, verified=row.verified, date=row.date
    )
