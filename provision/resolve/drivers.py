"""Which driver: branch, kernel module flavour, where it comes from. The rules are the ``refuse_*`` functions."""

from __future__ import annotations

import re

import msgspec

from provision.resolve.model import DriverPlan, Repository, Request, Target
from provision.resolve.rows import ArchitectureRow, DistributionRow, DriverRow, StackData, ToolkitRow


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """Nothing fits; the message is the clause after "no stack exists, because"."""


class Chosen(msgspec.Struct, frozen=True):
    row: DriverRow
    plan: DriverPlan


def architecture_of(target: Target, data: StackData) -> ArchitectureRow:
    """The target's row. Raises Refused for what is older than Maxwell or unheard of."""
    row = data.architecture(target.architecture) if target.architecture else None
    if target.maker != "NVIDIA":
        raise Refused(f"{target.name} is {target.maker}'s, and drivers and wheels here are for NVIDIA cards")
    if row is None:
        families = ", ".join(r.name.capitalize() for r in data.architectures if _is_served(r, data))
        raise Refused(f"{target.name} is of no family that current drivers and wheels serve ({families})")
    return row


def _is_served(row: ArchitectureRow, data: StackData) -> bool:
    return row.last_branch is None or any(driver.branch <= row.last_branch for driver in data.drivers)


def capability_of(target: Target, data: StackData) -> str:
    return target.capability or architecture_of(target, data).assumed_capability


def refuse_branch(row: DriverRow, target: Target, data: StackData) -> str | None:
    """A branch after the card's last ignores the card; one before its first does not know it."""
    architecture = architecture_of(target, data)
    if architecture.last_branch is not None and row.branch > architecture.last_branch:
        return f"{target.name} is served up to branch {architecture.last_branch}, and {row.branch} is newer"
    if row.branch < architecture.first_branch:
        return (
            f"{target.name} is served from branch {architecture.first_branch} on, and {row.branch} is older"
        )
    return None


def refuse_flavour(row: DriverRow, target: Target, data: StackData) -> str | None:
    """Open modules need Turing or later; Blackwell needs the open ones."""
    flavours = architecture_of(target, data).flavours
    if row.flavour not in flavours:
        return f"{target.name} needs the {' or '.join(flavours)} modules"
    return None


def refuse_kernel(row: DriverRow, distribution: DistributionRow, kernel: str) -> str | None:
    """Prebuilt modules exist for the distribution's own kernels only."""
    if row.origin == "prebuilt" and kernel_flavour(distribution, kernel) is None:
        return f"{distribution.name} has no prebuilt modules for kernel {kernel}"
    return None


def refuse_repository_key(
    row: DriverRow | ToolkitRow, distribution: DistributionRow, data: StackData
) -> str | None:
    """apt with sqv rejects a key whose self-signature is SHA-1, such as an older release's repository key."""
    repository = data.repository(distribution.id) if row.origin == "nvidia-repository" else None
    if repository is not None and repository.sha1_signature and distribution.apt_verifier == "sqv":
        return (
            f"the key {repository.key_id} of NVIDIA's repository is signed with SHA-1, "
            f"which apt on {distribution.name} refuses"
        )
    return None


def refuse_name(row: DriverRow, distribution: DistributionRow, data: StackData) -> str | None:
    """A transitional or empty package does not give what its name says."""
    for package in (*row.pinning, *row.packages):
        trap = data.forbidden_by(package, distribution.id)
        if trap is not None:
            return f"{package} must not be used: {trap.why}"
    return None


def kernel_flavour(distribution: DistributionRow, kernel: str) -> str | None:
    """The metapackage suffix that follows this kernel: "generic", "generic-hwe-24.04"; None: it has none."""
    if not kernel:
        return distribution.assumed_flavour
    match = re.fullmatch(r"(\d+\.\d+)\.\d+-\d+-generic", kernel)
    if match is None or distribution.ga_kernel is None:
        return None
    return distribution.ga_flavour if match[1] == distribution.ga_kernel else distribution.hwe_flavour


def headers_package(distribution: DistributionRow, kernel: str) -> str:
    """Headers that follow the kernel: the metapackage where there is one, else the kernel's own."""
    if distribution.id.startswith("debian"):
        match = re.search(r"-((?:cloud-|rt-)?amd64)$", kernel)
        if match or not kernel:
            return f"linux-headers-{match[1] if match else 'amd64'}"
    flavour = kernel_flavour(distribution, kernel)
    return f"linux-headers-{flavour or kernel}"


def choose(request: Request, distribution: DistributionRow, data: StackData) -> Chosen:
    """The first driver row that every rule lets pass for every card. Raises Refused."""
    rows = [row for row in data.drivers if distribution.id in row.distributions]
    refusals: list[str] = []
    for row in rows:
        why = _refusal(row, request, distribution, data)
        if why is None:
            return Chosen(row, _plan(row, request, distribution, data))
        refusals.append(why)
    raise Refused(_because(request, rows, refusals, distribution, data))


def _refusal(row: DriverRow, request: Request, distribution: DistributionRow, data: StackData) -> str | None:
    for target in request.targets:
        why = refuse_branch(row, target, data) or refuse_flavour(row, target, data)
        if why is not None:
            return why
    return (
        refuse_kernel(row, distribution, request.kernel)
        or refuse_repository_key(row, distribution, data)
        or refuse_name(row, distribution, data)
    )


def _because(
    request: Request,
    rows: list[DriverRow],
    refusals: list[str],
    distribution: DistributionRow,
    data: StackData,
) -> str:
    """One kernel loads one NVIDIA driver: where each card alone could be served, that is the reason."""

    def served(target: Target) -> bool:
        alone = msgspec.structs.replace(request, targets=(target,))
        return any(_refusal(row, alone, distribution, data) is None for row in rows)

    unlike = {target.architecture: target for target in request.targets}
    if len(unlike) > 1 and all(served(target) for target in unlike.values()):
        needs = " and ".join(f"{t.name} ({_needs(t, data)})" for t in unlike.values())
        return f"one kernel loads one NVIDIA driver, and none serves {needs} together"
    for target in unlike.values():
        last = architecture_of(target, data).last_branch
        if last is not None and rows and all(row.branch > last for row in rows):
            has = " and ".join(dict.fromkeys(str(row.branch) for row in rows))
            family = (target.architecture or "").capitalize()
            return (
                f"{target.name} is of the {family} family, which drivers serve up to branch {last} only, "
                f"and {distribution.name} has {has}; no TensorFlow, torch or JAX wheel has code for it either"
                if not any(_has_wheel(row.code, target, data) for row in data.frameworks)
                else f"{target.name} is served up to branch {last}, and {distribution.name} has {has}"
            )
    if not rows:
        return f"no driver is known for {distribution.name}"
    return "; ".join(dict.fromkeys(refusals))


def _has_wheel(code: tuple[str, ...], target: Target, data: StackData) -> bool:
    major = capability_of(target, data).partition(".")[0]
    return any(each.partition(".")[0] == major for each in code)


def _needs(target: Target, data: StackData) -> str:
    row = architecture_of(target, data)
    last = f"at most branch {row.last_branch}" if row.last_branch else f"branch {row.first_branch} or later"
    return f"{' or '.join(row.flavours)} modules, {last}"


def _plan(row: DriverRow, request: Request, distribution: DistributionRow, data: StackData) -> DriverPlan:
    names = {
        "kernel_flavour": kernel_flavour(distribution, request.kernel) or "",
        "headers": headers_package(distribution, request.kernel),
    }
    branch = data.branch(row.branch)
    return DriverPlan(
        branch=row.branch,
        version=row.version,
        flavour=row.flavour,
        source=row.origin,
        packages=tuple(name.format_map(names) for name in (*row.pinning, *row.packages)),
        components=row.components,
        repository=repository(distribution.id, data) if row.origin == "nvidia-repository" else None,
        needs_mok=False if row.origin == "prebuilt" else request.secure_boot,
        ends=branch.ends if branch else None,
    )


def repository(distribution: str, data: StackData) -> Repository | None:
    row = data.repository(distribution)
    if row is None:
        return None
    return Repository(
        uri=row.uri,
        keyring=row.uri + row.keyring,
        key_url=f"{row.uri}{row.key_id.lower()}.pub",
        fingerprint=row.fingerprint,
    )
