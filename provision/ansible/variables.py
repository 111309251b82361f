"""Convert the facts of a box to a request for the resolver, and the resolver's stack to role variables."""

from __future__ import annotations

from typing import Any

import msgspec

from provision.resolve import box_reading, boxes
from provision.resolve.model import Repository, Request, Stack
from provision.resolve.rows import StackData


class _BoxCard(msgspec.Struct, frozen=True):
    address: str
    device_id: int
    driver: str | None = None


class _BoxDistribution(msgspec.Struct, frozen=True):
    id: str
    version: str


class BoxFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of a box that a plan needs; the role preflight reads them (``preflight_box``)."""

    machine_type: str
    kernel: str
    kernels: tuple[str, ...]
    """Installed kernels, the newest last. In a container, ``kernel`` is the container host's and not in this list."""
    distribution: _BoxDistribution
    environment: str
    secure_boot: bool | None
    cards: tuple[_BoxCard, ...]
    apt_packages: tuple[str, ...] | None = None
    """Headers of kernels and prebuilt modules that apt offers; None: not known."""
    compiled_headers: tuple[str, ...] = ()
    """Installed kernels whose headers are present."""
    cpu_flags: tuple[str, ...] | None = None
    module_version: str | None = None


def request(reading: dict[str, Any]) -> Request:
    """The resolver's request for a box. Its kernel is the newest installed one, which boots next.

    Raises ReadingError if a field of ``reading`` has a wrong type or value.
    """
    box = msgspec.convert(box_reading.read(reading), BoxFacts)
    return Request(
        distribution=f"{box.distribution.id}-{box.distribution.version}".rstrip("-"),
        targets=tuple(
            boxes.target_of(card.device_id, address=card.address, bound_driver=card.driver)
            for card in box.cards
        ),
        kernel=box.kernels[-1] if box.kernels else "",
        secure_boot=box.secure_boot,
        machine_type=box.machine_type,
        environment=box.environment,
        apt_packages=box.apt_packages,
        compiled_headers=box.compiled_headers,
        cpu_flags=box.cpu_flags,
        driver_version=box.module_version or "",
    )


def distributions(data: StackData) -> dict[str, Any]:
    """The variable of the role distribution: the folder from which the plan read the distribution files."""
    return {"distribution_folder": str(data.folder.resolve())}


def driver(stack: Stack) -> dict[str, Any]:
    """The variables of the role nvidia_driver. Empty without a card; the role then does not run."""
    plan = stack.driver
    if plan is None:
        return {}
    found: dict[str, Any] = {
        "nvidia_driver_branch": plan.branch,
        "nvidia_driver_flavour": plan.flavour,
        "nvidia_driver_source": plan.source,
        "nvidia_driver_packages": list(plan.packages),
        "nvidia_driver_components": _components(stack),
        "nvidia_driver_needs_mok": plan.needs_mok is True,
    }
    if plan.repository is not None:
        found["nvidia_driver_repository"] = _repository(plan.repository)
    return found


def toolkit(stack: Stack) -> dict[str, Any]:
    """The variables of the role cuda. Empty if no system toolkit is planned; the role then does not run."""
    plan = stack.cuda
    if plan is None or plan.toolkit is None:
        return {}
    found: dict[str, Any] = {
        "cuda_version": plan.toolkit,
        "cuda_packages": list(plan.toolkit_packages),
        "cuda_capabilities": list(plan.capabilities),
        "cuda_components": _components(stack),
    }
    if plan.toolkit_repository is not None:
        found["cuda_repository"] = _repository(plan.toolkit_repository)
        found["cuda_pin"] = stack.driver is None or stack.driver.repository is None
    return found


def cudnn(stack: Stack) -> dict[str, Any]:
    """The variables of the role cudnn. Empty if no environment contains cuDNN; the role then does not run."""
    if stack.cudnn is None or not stack.cudnn.versions:
        return {}
    return {"cudnn_environments": dict(stack.cudnn.versions)}


def _components(stack: Stack) -> list[str]:
    """The archive components for the driver and the toolkit, combined because both roles write the same source file."""
    of_driver = stack.driver.components if stack.driver is not None else ()
    of_toolkit = stack.cuda.toolkit_components if stack.cuda is not None else ()
    return list(dict.fromkeys((*of_driver, *of_toolkit)))


def _repository(found: Repository) -> dict[str, str]:
    return {"uri": found.uri, "key_url": found.key_url, "fingerprint": found.fingerprint}
