"""The facts of each chip architecture (architectures.yml): driver branches, kernel modules, capabilities.

Both the resolver of `dlbox plan` and the health checks read this table, so that they cannot disagree.
"""

from __future__ import annotations

import functools
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from common.file_access import yaml_lines
from common.sourced import Sourced

Flavour = Literal["open", "closed"]
ModuleFlavour = Literal["closed", "open", "either"]
Branch = Annotated[int, Meta(gt=0)]
Multiple = Annotated[float, Meta(gt=0)]
DeviceId = Annotated[str, Meta(pattern="^[0-9a-f]{4}$")]

PATH = Path(str(resources.files("inventory.cards") / "architectures.yml"))


class ChipException(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A chip whose first driver branch differs from the first branch of its architecture."""

    chip: str
    first_id: DeviceId
    last_id: DeviceId
    """PCI device ids of the chip, both ends included, in hexadecimal."""
    first_branch: Branch


class ArchitectureRow(Sourced, frozen=True, kw_only=True):
    """One chip architecture, and the drivers that support it."""

    name: str
    cards: str
    capabilities: tuple[str, ...]
    chips: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """Compute capability -> the chips that have it, such as "8.6" -> ("GA102", "GA106")."""
    chips_without_tensor_cores: tuple[str, ...] = ()
    id_ranges: tuple[tuple[DeviceId, DeviceId], ...] = ()
    """PCI device ids of display functions, both ends included, for ids that the table of ids does not list."""
    assumed_capability: str
    """Compute capability that is assumed for a card of unknown chip: the lowest of the consumer cards."""
    first_branch: Branch
    """First driver branch that supports the consumer cards."""
    last_branch: Branch | None
    """Last driver branch that supports the cards. None: the newest branch still supports them."""
    flavours: tuple[Flavour, ...]
    """Kernel modules that support the cards."""
    why: str
    exceptions: tuple[ChipException, ...] = ()
    tensor_tf32: Multiple | None = None
    """Peak of the tensor cores of consumer cards as a multiple of the FP32 peak; None: the chips have no units for the
    precision."""
    tensor_fp16: Multiple | None = None
    tensor_bf16: Multiple | None = None

    @property
    def module_flavour(self) -> ModuleFlavour:
        """The variant of the kernel modules that supports the cards, or "either" if both variants do."""
        return "either" if len(set(self.flavours)) == 2 else self.flavours[0]

    def first_branch_of(self, pci_device_id: int) -> int:
        """First driver branch that supports the chip with this PCI device id."""
        for chip in self.exceptions:
            if int(chip.first_id, 16) <= pci_device_id <= int(chip.last_id, 16):
                return chip.first_branch
        return self.first_branch

    def has_tensor_cores(self, chip: str) -> bool:
        """Whether a chip such as "TU104" has units for matrix products in FP16."""
        return self.name not in _WITHOUT_TENSOR_CORES and chip not in self.chips_without_tensor_cores

    def first_branch_of_chip(self, chip: str) -> int:
        """First driver branch that supports a chip such as "GA106"."""
        return next((each.first_branch for each in self.exceptions if each.chip == chip), self.first_branch)


_WITHOUT_TENSOR_CORES = ("kepler", "maxwell", "pascal")


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    architectures: tuple[ArchitectureRow, ...]


def read(path: Path) -> tuple[ArchitectureRow, ...]:
    """The rows of a file, oldest architecture first. Raises YamlError with the line of the first mistake."""
    document = yaml_lines.read(path)
    rows = yaml_lines.convert(document, _File).architectures
    seen: set[str] = set()
    for index, row in enumerate(rows):
        where = ("architectures", index)
        if row.name in seen:
            raise document.error((*where, "name"), f"`{row.name}` has a row already")
        seen.add(row.name)
        if not row.flavours:
            raise document.error((*where, "flavours"), "`flavours` must be open, closed or both")
        if row.assumed_capability not in row.capabilities:
            known = ", ".join(row.capabilities)
            raise document.error(
                (*where, "assumed_capability"), f"`assumed_capability` must be one of {known}"
            )
        for capability in row.chips:
            if capability not in row.capabilities:
                raise document.error(
                    (*where, "chips", capability), f"`{capability}` is not in `capabilities` of `{row.name}`"
                )
        if row.last_branch is not None and row.last_branch < row.first_branch:
            raise document.error((*where, "last_branch"), "`last_branch` must not be below `first_branch`")
    return rows


@functools.cache
def shipped() -> tuple[ArchitectureRow, ...]:
    """The rows of the file that comes with dlbox."""
    return read(PATH)


def find(name: str | None) -> ArchitectureRow | None:
    """The row of an architecture by its name, such as "ampere"; None for an unknown name."""
    return next((row for row in shipped() if row.name == name), None)


@functools.cache
def _by_chip() -> dict[str, tuple[ArchitectureRow, str]]:
    return {
        chip: (row, capability)
        for row in shipped()
        for capability, chips in row.chips.items()
        for chip in chips
    }


def of_chip(chip: str) -> tuple[ArchitectureRow, str] | None:
    """The architecture and the compute capability of a chip such as "GP100"; None for an unknown chip."""
    return _by_chip().get(chip)
