"""Selects the driver: branch, variant of the kernel modules and source. The ``refuse_*`` functions are the rules."""

from __future__ import annotations

import re

import msgspec

from common.versions import release
from inventory.cards.architectures import ArchitectureRow
from provision.distributions.distribution_file import DistributionRow, DriverRow, ToolkitRow
from provision.kernels import module_builds, release_names
from provision.kernels.module_builds import BuildRow, BuildVerdict
from provision.resolve.model import DriverPlan, Repository, Request, Target
from provision.resolve.rows import StackData


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """No versions fit the request; the message is the clause after "no stack exists, because"."""


class SelectedDriver(msgspec.Struct, frozen=True):
    """The row of the selected driver, and the plan that follows from it."""

    row: DriverRow
    plan: DriverPlan
    verdict: BuildVerdict = "compiles"
    """Whether the modules compile for the kernel of the request; "compiles" also for prebuilt modules."""
    build: BuildRow | None = None
    """The row from which the verdict follows; None without a kernel and for prebuilt modules."""


def architecture_of(target: Target, data: StackData) -> ArchitectureRow:
    """The row of the card's architecture. Raises Refused for another maker and for an unknown architecture."""
    row = data.architecture(target.architecture) if target.architecture else None
    if target.maker != "NVIDIA":
        raise Refused(
            f"{target.name} is not an NVIDIA card but a card by {target.maker}, and dlbox supports NVIDIA cards only"
        )
    if row is None:
        families = ", ".join(r.name.capitalize() for r in data.architectures if _is_supported(r, data))
        raise Refused(f"current drivers and wheels do not support {target.name}; they support {families}")
    return row


def branch_of(version: str) -> int | None:
    """The branch of a driver version: "580.178.04" -> 580; None if the text is not a version."""
    found = re.match(r"(\d{3,4})(?:\.|$)", version, re.ASCII)
    return int(found[1]) if found else None


def is_supported(target: Target, data: StackData) -> bool:
    """Whether a driver for the card exists on any distribution."""
    row = data.architecture(target.architecture) if target.architecture else None
    return target.maker == "NVIDIA" and row is not None and _is_supported(row, data)


def _is_supported(row: ArchitectureRow, data: StackData) -> bool:
    last = row.last_branch
    return last is None or any(
        driver.branch <= last for each in data.distributions for driver in each.drivers
    )


def capability_of(target: Target, data: StackData) -> str:
    """The card's compute capability ("8.6"); if it is unknown, the lowest of its architecture."""
    return target.capability or architecture_of(target, data).assumed_capability


def refuse_branch(row: DriverRow, target: Target, data: StackData) -> str | None:
    """Refuse branches after the card's last branch, which drop the card, and before its first, which lack it."""
    architecture = architecture_of(target, data)
    if architecture.last_branch is not None and row.branch > architecture.last_branch:
        return f"the last branch for {target.name} is {architecture.last_branch}, and {row.branch} is newer"
    if row.branch < architecture.first_branch:
        return f"the first branch for {target.name} is {architecture.first_branch}, and {row.branch} is older"
    return None


def refuse_flavour(row: DriverRow, target: Target, data: StackData) -> str | None:
    """Refuse open modules before Turing, and closed modules on Blackwell, which needs the open modules."""
    flavours = architecture_of(target, data).flavours
    if row.flavour not in flavours:
        return f"{target.name} needs the {' or '.join(flavours)} modules"
    return None


def refuse_card(row: DriverRow, target: Target, data: StackData) -> str | None:
    """Refuse a driver whose branch or kernel modules do not support the card."""
    return refuse_branch(row, target, data) or refuse_flavour(row, target, data)


def refuse_kernel(row: DriverRow, distribution: DistributionRow, request: Request) -> str | None:
    """Refuse prebuilt modules for kernels that have none, and every driver for WSL2's kernel.

    The distribution's own kernels have prebuilt modules, and those for which apt on the machine offers them.
    """
    kernel = request.kernel
    kind = release_names.kind_of(distribution, kernel)
    if kind is not None and kind.id == "wsl2":
        return f"kernel {kernel} is {kind.name}, whose driver is installed on Windows"
    exact = [name.format(kernel_flavour=kernel) for name in row.packages if "{kernel_flavour}" in name]
    if exact and set(exact) <= set(request.apt_packages or ()):
        return None
    if row.origin == "prebuilt" and kind is not None:
        return f"{distribution.name} has no prebuilt modules for kernel {kernel}, which is {kind.name}"
    return None


def build_of(row: DriverRow, kernel: str, data: StackData) -> tuple[BuildVerdict, BuildRow | None]:
    """Whether the modules compile for the kernel, and the row that says so. Without a kernel: they do."""
    series = release_names.series(kernel)
    if row.origin == "prebuilt" or not kernel:
        return "compiles", None
    build = module_builds.row_for(data.builds, row.branch, row.version, row.flavour)
    return (build.verdict(series) if build is not None and series is not None else "unknown"), build


def refuse_build(row: DriverRow, kernel: str, data: StackData) -> str | None:
    """Refuse modules that are known not to compile for the kernel."""
    verdict, build = build_of(row, kernel, data)
    if verdict != "fails" or build is None:
        return None
    series = release_names.shown_series(release_names.series(kernel))
    return (
        f"the {row.flavour} modules of driver {row.version} do not compile for kernel {series} "
        f"(they compile up to {build.newest})"
    )


def refuse_unoffered(row: DriverRow, distribution: DistributionRow, request: Request) -> str | None:
    """Refuse packages of a kernel that apt on the machine does not offer, if it is known what apt offers."""
    offered = request.apt_packages or ()
    names = _names(distribution, request.kernel)
    for pattern in row.packages:
        package, prefix = pattern.format_map(names), ""
        if pattern == "{headers}" and request.kernel not in request.compiled_headers:
            prefix = "linux-headers-"
        elif pattern.startswith("linux-modules-nvidia-"):
            prefix = "linux-modules-nvidia-"
        # Without any package of the kind, its repository or component is not enabled yet: this shows nothing.
        known = bool(prefix) and any(name.startswith(prefix) for name in offered)
        if known and package not in offered:
            return f"apt on this machine does not offer {package}"
    return None


def refuse_repository_key(row: DriverRow | ToolkitRow, distribution: DistributionRow) -> str | None:
    """Refuse a repository whose key has a SHA-1 self-signature if apt verifies with sqv, which rejects such keys."""
    repository = distribution.repository if row.origin == "nvidia-repository" else None
    if repository is not None and repository.sha1_signature and distribution.apt_verifier == "sqv":
        return (
            f"the key {repository.key_id} of NVIDIA's repository is signed with SHA-1, "
            f"and apt on {distribution.name} refuses such keys"
        )
    return None


def refuse_name(row: DriverRow, distribution: DistributionRow, data: StackData) -> str | None:
    """Refuse transitional and empty packages, which do not install what their names promise."""
    for package in (*row.pinning, *row.packages):
        trap = data.forbidden_by(package, distribution.id)
        if trap is not None:
            return f"{package} must not be used: {trap.why}"
    return None


def choose(request: Request, distribution: DistributionRow, data: StackData) -> SelectedDriver:
    """The first driver row that every rule accepts for every card. Raises Refused.

    Rows whose modules are known to compile for the kernel come first, in the order of the file. If there are none,
    the newest version among those of which nothing is known is selected.
    """
    rows = _requested(request, distribution)
    refusals: list[str] = []
    uncertain: list[DriverRow] = []
    for row in rows:
        why = _refusal(row, request, distribution, data)
        if why is not None:
            refusals.append(why)
        elif build_of(row, request.kernel, data)[0] == "unknown":
            uncertain.append(row)
        else:
            return _selected(row, request, distribution, data)
    if uncertain:
        newest = max(uncertain, key=lambda row: release(row.version))
        return _selected(newest, request, distribution, data)
    raise Refused(_explanation(request, rows, refusals, distribution, data))


def _selected(
    row: DriverRow, request: Request, distribution: DistributionRow, data: StackData
) -> SelectedDriver:
    verdict, build = build_of(row, request.kernel, data)
    return SelectedDriver(row, _plan(row, request, distribution, data), verdict, build)


def _requested(request: Request, distribution: DistributionRow) -> tuple[DriverRow, ...]:
    """The rows with the requested branch and variant of the modules. Raises Refused if there are none."""
    rows = tuple(
        row
        for row in distribution.drivers
        if request.branch in (None, row.branch) and request.flavour in (None, row.flavour)
    )
    if rows or not distribution.drivers:
        return rows
    wanted = f"branch {request.branch}" if request.branch is not None else "any branch"
    modules = f" with the {request.flavour} modules" if request.flavour else ""
    has = " and ".join(dict.fromkeys(f"{row.branch} {row.flavour}" for row in distribution.drivers))
    reasons = [row.why for row in distribution.absent if row.branch == request.branch]
    raise Refused(
        f"dlbox has no driver of {wanted}{modules} for {distribution.name} (it has {has})"
        + "".join(f"; {why}" for why in reasons)
    )


def _refusal(row: DriverRow, request: Request, distribution: DistributionRow, data: StackData) -> str | None:
    for target in request.targets:
        why = refuse_card(row, target, data)
        if why is not None:
            return why
    return (
        (refuse_kernel(row, distribution, request) if request.environment != "wsl2" else None)
        or refuse_build(row, request.kernel, data)
        or refuse_unoffered(row, distribution, request)
        or refuse_repository_key(row, distribution)
        or refuse_name(row, distribution, data)
    )


def _explanation(
    request: Request,
    rows: tuple[DriverRow, ...],
    refusals: list[str],
    distribution: DistributionRow,
    data: StackData,
) -> str:
    """Why no row fits. If each card alone has a driver, the reason is that a kernel loads only one NVIDIA driver."""

    def has_driver(target: Target) -> bool:
        alone = msgspec.structs.replace(request, targets=(target,))
        return any(_refusal(row, alone, distribution, data) is None for row in rows)

    by_architecture = {target.architecture: target for target in request.targets}
    if len(by_architecture) > 1 and all(has_driver(target) for target in by_architecture.values()):
        needs = " and ".join(f"{t.name} ({_needs(t, data)})" for t in by_architecture.values())
        return f"one kernel loads one NVIDIA driver, and no driver supports {needs} together"
    for target in by_architecture.values():
        last = architecture_of(target, data).last_branch
        if last is not None and rows and all(row.branch > last for row in rows):
            branches = " and ".join(dict.fromkeys(str(row.branch) for row in rows))
            has = (
                f"the request is for {branches}" if request.branch else f"{distribution.name} has {branches}"
            )
            family = (target.architecture or "").capitalize()
            return (
                f"{target.name} is a {family} card, the last driver branch for {family} is {last}, "
                f"and {has}; no wheel of TensorFlow, torch or JAX contains code for it either"
                if not any(_has_wheel(row.code, target, data) for row in data.frameworks)
                else f"the last driver branch for {target.name} is {last}, and {has}"
            )
    if not rows:
        return f"dlbox knows no driver for {distribution.name}"
    absent = [
        row.why
        for row in distribution.absent
        if request.branch in (None, row.branch)
        and all(_allows_branch(architecture_of(t, data), row.branch) for t in request.targets)
    ]
    return "; ".join(dict.fromkeys((*refusals, *absent)))


def _allows_branch(row: ArchitectureRow, branch: int) -> bool:
    return row.first_branch <= branch and (row.last_branch is None or branch <= row.last_branch)


def _has_wheel(code: tuple[str, ...], target: Target, data: StackData) -> bool:
    major = capability_of(target, data).partition(".")[0]
    return any(each.partition(".")[0] == major for each in code)


def _needs(target: Target, data: StackData) -> str:
    row = architecture_of(target, data)
    last = f"at most branch {row.last_branch}" if row.last_branch else f"branch {row.first_branch} or later"
    return f"{' or '.join(row.flavours)} modules, {last}"


def _plan(row: DriverRow, request: Request, distribution: DistributionRow, data: StackData) -> DriverPlan:
    names = _names(distribution, request.kernel)
    branch = data.branch(row.branch)
    return DriverPlan(
        branch=row.branch,
        version=row.version,
        flavour=row.flavour,
        source=row.origin,
        packages=tuple(name.format_map(names) for name in (*row.pinning, *row.packages)),
        components=row.components,
        repository=repository(distribution) if row.origin == "nvidia-repository" else None,
        needs_mok=False if row.origin == "prebuilt" else request.secure_boot,
        ends=branch.ends if branch else None,
    )


def _names(distribution: DistributionRow, kernel: str) -> dict[str, str]:
    """The values of the variables in package names."""
    return {
        "kernel_flavour": release_names.own_flavour(distribution, kernel) or kernel,
        "headers": release_names.headers_package(distribution, kernel),
    }


def repository(distribution: DistributionRow) -> Repository | None:
    """NVIDIA's repository for the release, with the address and the fingerprint of its key."""
    row = distribution.repository
    if row is None:
        return None
    return Repository(
        uri=row.uri,
        keyring=row.uri + row.keyring,
        key_url=f"{row.uri}{row.key_id.lower()}.pub",
        fingerprint=row.fingerprint,
    )
