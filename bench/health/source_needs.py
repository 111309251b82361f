"""What a check needs from a report about another computer (``inventory.sources``), beside its declared readings.

A Reading says itself that the report does not contain it. Other fields of Machine have defaults, which must not be
taken for the truth: ``Machine.source.missing`` names those that the report does not contain.
"""

from __future__ import annotations

from inventory.machine.reading import Reading
from inventory.machine.records import Machine

NOT_IN_SOURCE = "not in this source"
"""The beginning of the message of a check that a report does not allow."""

NAMES = {
    "cards": "the list of PCI devices",
    "cards.driver": "the kernel driver of each PCI device",
    "driver.module_flavour": "the kind of the kernel module",
    "host.environment": "the kind of machine",
    "host.library_path_clashes": "the folders of LD_LIBRARY_PATH",
    "host.memory_bytes": "the size of the memory",
    "host.secure_boot": "Secure Boot",
    "host.swap_bytes": "swap space",
    "host.variables": "environment variables",
    "installation.device_nodes": "the device nodes",
    "installation.kernels": "the installed kernels",
}
"""Field of Machine -> its name in a message."""

FIELDS: dict[str, tuple[str, ...]] = {
    "pcie.errors": ("cards",),
    "driver.device-nodes": ("installation.device_nodes",),
    "host.environment": ("host.environment",),
    "host.library-path": ("host.library_path_clashes",),
    "host.memory": ("host.memory_bytes",),
    "host.swap": ("host.swap_bytes",),
    "host.variables": ("host.variables",),
}
"""Check -> the fields without which it cannot be made at all."""

FIELDS_FOR_A_PASS: dict[str, tuple[str, ...]] = {
    "driver.flavour": ("driver.module_flavour",),
    "driver.lost": ("cards",),
    "driver.module-built": ("installation.kernels",),
    "driver.nouveau": ("cards", "cards.driver"),
    "driver.passthrough": ("cards", "cards.driver"),
    "driver.permission": ("installation.device_nodes",),
    "driver.secure-boot": ("host.secure_boot",),
}
"""Check -> the fields without which it cannot pass; it can fail, because other evidence may show the fault."""


def is_missing(machine: Machine, field: str) -> bool:
    """Whether the report that ``machine`` was read from does not contain ``field``."""
    if machine.source is None:
        return False
    if field in machine.source.missing:
        return True
    found: object = machine
    for name in field.split("."):
        found = getattr(found, name, None)
    return isinstance(found, Reading) and found.state == "not-in-source"


def knows_cards(machine: Machine) -> bool:
    """Whether it is known which cards the machine has: always, except for a report without lspci and nvidia-smi."""
    return (
        machine.has_gpu
        or not is_missing(machine, "cards")
        or (machine.nvml.ok and not is_missing(machine, "gpus"))
    )
