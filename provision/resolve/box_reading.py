"""Checks the data that a machine reports: refuses every value that does not match the grammar of its field.

The input is the output of roles/preflight/files/box.py. The result contains the fields listed in READING only: each
text matches its grammar, each number lies in its range and each list has a limited length. The grammars also check
other values from outside, such as the kernel release of this machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from provision.clean_text import shown


class ReadingError(ValueError):
    """A value from outside does not match the grammar of its field; the message is one clause with the field."""


class BoxText(msgspec.Struct, frozen=True):
    """A text that matches the whole pattern. ``what`` completes the message "is not ..."."""

    what: str
    pattern: str


class Number(msgspec.Struct, frozen=True):
    """A whole number from ``low`` to ``high``, both included."""

    what: str
    low: int
    high: int


class Flag(msgspec.Struct, frozen=True):
    """True or false."""

    what: str = "true or false"


class Maybe(msgspec.Struct, frozen=True):
    """A value, or null if it could not be read."""

    of: Shape


class Many(msgspec.Struct, frozen=True):
    """A list with at most ``most`` entries."""

    of: Shape
    most: int


class Named(msgspec.Struct, frozen=True):
    """A mapping with at most ``most`` entries, whose keys have a grammar too."""

    key: BoxText
    of: Shape
    most: int


class Fields(msgspec.Struct, frozen=True):
    """A mapping with known keys."""

    required: Mapping[str, Shape]
    optional: Mapping[str, Shape] = {}


Shape = BoxText | Number | Flag | Maybe | Many | Named | Fields

KERNEL = BoxText("a kernel release", r"(?!-)[A-Za-z0-9.+~_-]{1,80}(?<!-)")
"""It becomes part of package names. apt reads a leading "-" as an option and removes a package with a trailing one."""
MACHINE = BoxText("a machine type", r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
DISTRIBUTION = BoxText("the id of a distribution", r"[a-z0-9][a-z0-9._-]{0,39}")
RELEASE = BoxText("the version of a distribution", r"(?:[A-Za-z0-9][A-Za-z0-9.+~_-]{0,39})?")
CODENAME = BoxText("the code name of a release", r"(?:[A-Za-z0-9][A-Za-z0-9 ._-]{0,39})?")
ENVIRONMENT = BoxText(
    "bare-metal, virtual-machine, container or wsl2", r"bare-metal|virtual-machine|container|wsl2"
)
CPU_FLAG = BoxText("a flag of a processor", r"[a-z0-9_]{1,40}")
PCI_ADDRESS = BoxText("a PCI address", r"[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7]")
MODULE = BoxText("the name of a kernel module", r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
MODULE_VERSION = BoxText("the version of a kernel module", r"[0-9][0-9.]{0,39}")
PACKAGE = BoxText("the name of a package", r"[A-Za-z0-9][A-Za-z0-9.+_~-]{0,199}(?<!-)")
PACKAGE_VERSION = BoxText("the version of a package", r"(?:[A-Za-z0-9][A-Za-z0-9.+~:_-]{0,199})?")
PATH = BoxText("a path", r"/[A-Za-z0-9._+~@%:,=()/ -]{0,254}")
URI = BoxText("an address", r"[A-Za-z0-9][A-Za-z0-9.:/~_+-]{0,254}")
PROCESS = BoxText("the name of a process", r"[A-Za-z0-9 ._:/()@+#-]{0,64}")
DEVICE_ID = Number("a PCI device id", 0, 0xFFFF)
PROCESS_ID = Number("a process id", 0, 2**31 - 1)
FREE = Number("a number of free bytes", 0, 2**63 - 1)

FILE_SYSTEM = Number("the number of a file system", 0, 2**64 - 1)
FILES = Number("a number of files", 0, 10_000)
ENVIRONMENT_NAME = BoxText("the name of an environment", r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

READING = Fields(
    required={
        "machine_type": MACHINE,
        "kernel": KERNEL,
        "kernels": Many(KERNEL, 200),
        "distribution": Fields({"id": DISTRIBUTION, "version": RELEASE}, {"codename": CODENAME}),
        "environment": ENVIRONMENT,
        "secure_boot": Maybe(Flag()),
        "cards": Many(
            Fields({"address": PCI_ADDRESS, "device_id": DEVICE_ID}, {"driver": Maybe(MODULE)}), 64
        ),
    },
    optional={
        "schema_version": Number("the schema version 1", 1, 1),
        "modules": Many(MODULE, 200),
        "module_version": Maybe(MODULE_VERSION),
        "cpu_flags": Maybe(Many(CPU_FLAG, 400)),
        "packages": Named(PACKAGE, PACKAGE_VERSION, 2_000),
        "repositories": Many(Fields({"file": PATH, "uri": URI}), 1_000),
        "runfile": Many(PATH, 20),
        "locks": Many(Fields({"file": PATH, "pid": PROCESS_ID, "name": PROCESS}), 200),
        "interrupted": Flag(),
        "free_bytes": Named(PATH, Maybe(FREE), 20),
        "apt_packages": Maybe(Many(PACKAGE, 2_000)),
        "compiled_headers": Many(KERNEL, 200),
        "file_systems": Named(PATH, Maybe(FILE_SYSTEM), 20),
        "initramfs": Fields({"files": FILES, "largest": FREE, "has_driver": Flag()}),
        "environments": Many(ENVIRONMENT_NAME, 100),
    },
)


def read(document: object) -> dict[str, Any]:
    """The checked fields of a reading. Raises ReadingError for the first field that does not match its grammar."""
    found: dict[str, Any] = checked("", document, READING)
    return found


def checked(field: str, value: object, shape: Shape) -> Any:
    """The value, without fields that its shape does not list. Raises ReadingError.

    ``field``: the name for messages, such as "cards[0].address"; empty for a whole document.
    """
    match shape:
        case BoxText():
            if isinstance(value, str) and re.fullmatch(shape.pattern, value, re.ASCII):
                return value
            raise _refused(field, value, shape.what)
        case Number():
            if type(value) is int and shape.low <= value <= shape.high:
                return value
            raise _refused(field, value, shape.what)
        case Flag():
            if type(value) is bool:
                return value
            raise _refused(field, value, shape.what)
        case Maybe():
            return None if value is None else checked(field, value, shape.of)
        case Many():
            if not isinstance(value, list | tuple):
                raise _refused(field, value, "a list")
            _bounded(field, len(value), shape.most)
            return [checked(f"{field}[{index}]", item, shape.of) for index, item in enumerate(value)]
        case Named():
            named = _mapping(field, value)
            _bounded(field, len(named), shape.most)
            return {
                checked(field, key, shape.key): checked(f"{field}[{shown(key)}]", item, shape.of)
                for key, item in named.items()
            }
        case Fields():
            return _fields(field, _mapping(field, value), shape)


def _fields(field: str, value: Mapping[Any, Any], shape: Fields) -> dict[str, Any]:
    inside = f"{field}." if field else ""
    missing = [name for name in shape.required if name not in value]
    if missing:
        raise ReadingError(f'field "{inside}{missing[0]}" is missing')
    every = {**shape.required, **shape.optional}
    return {
        name: checked(f"{inside}{name}", value[name], inner) for name, inner in every.items() if name in value
    }


def _mapping(field: str, value: object) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise _refused(field, value, "a mapping") if field else ReadingError("the reading is not a mapping")
    return value


def _bounded(field: str, number: int, most: int) -> None:
    if number > most:
        raise ReadingError(f'field "{field}" has {number} entries, and at most {most} are allowed')


def _refused(field: str, value: object, what: str) -> ReadingError:
    text = shown(value)
    return ReadingError(
        f'field "{field}" is not {what}: ' + (f'"{text}"' if isinstance(value, str) else text)
    )
