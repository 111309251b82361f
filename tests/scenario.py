"""Scenarios: computers in YAML files. ``load("rtx3060_idle").machine(folder)`` reads one with the real code."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import yaml

from inventory import gather
from inventory.machine.gpu_records import GpuSample
from inventory.machine.reading import Reading
from inventory.machine.records import Disk, Machine

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "scenarios"


class Scenario:
    """One computer: the answers of NVML (``nvml``), its files (``files``, ``links``), and the expected findings."""

    def __init__(self, name: str, content: dict[str, Any]) -> None:
        self.name, self.content = name, content

    def __repr__(self) -> str:
        return self.name

    @property
    def expect(self) -> dict[str, Any]:
        return self.content["expect"]

    @property
    def nvml(self) -> dict[str, Any]:
        return self.content["nvml"]

    def sysroot(self, folder: Path) -> Path:
        for path, text in self.content.get("files", {}).items():
            if text is None:
                continue
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            data = bytes.fromhex(text["hex"]) if isinstance(text, dict) else str(text).encode()
            file.write_bytes(data)
        for path, target in self.content.get("links", {}).items():
            if target is None:
                continue
            link = folder / path
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)
        return folder

    def probe(self, folder: Path) -> tuple[str, ...]:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "nvml.json"
        file.write_text(json.dumps(self.nvml))
        return (sys.executable, str(HERE / "fake_probe.py"), str(file))

    def machine(self, folder: Path, timeout_s: float = 10) -> Machine:
        machine = gather.gather(sysroot=self.sysroot(folder / "root"), probe=self.probe(folder / "probe"),
                               timeout_s=timeout_s)  # fmt: skip
        return settled(machine)


def settled(machine: Machine) -> Machine:
    """Replace the values of the computer that runs the tests by fixed ones."""
    host = msgspec.structs.replace(
        machine.host, hostname="box", architecture="x86_64", cpu_cores=6, cpu_threads=12, memory_bytes=16 << 30,
        memory_available_bytes=12 << 30, python_version="3.12.4", variables={}, library_path_clashes=(),
        disk=Reading.of(Disk(path="/home/user", total_bytes=500 << 30, free_bytes=200 << 30, kind="nvme")),
    )  # fmt: skip
    gpus = tuple(msgspec.structs.replace(gpu, samples=_timed(gpu.samples)) for gpu in machine.gpus)
    return msgspec.structs.replace(machine, host=host, gpus=gpus, read_at="2026-01-02T03:04:05+00:00")


def _timed(samples: tuple[GpuSample, ...]) -> tuple[GpuSample, ...]:
    return tuple(
        msgspec.structs.replace(sample, second=0.25 * n) for n, sample in enumerate(samples, start=1)
    )


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yml") if not path.stem.startswith("_"))


def load(name: str) -> Scenario:
    return Scenario(name, _content(name))


def _content(name: str) -> dict[str, Any]:
    content = yaml.safe_load((FOLDER / f"{name}.yml").read_text())
    like = content.pop("like", None)
    if not like:
        return content
    return {**_merged(_content(like), content), "expect": content["expect"]}


def _merged(base: Any, change: Any) -> Any:
    """``base`` with ``change``: mappings are merged, cards are merged one by one, other values are replaced."""
    if isinstance(base, dict) and isinstance(change, dict):
        if set(change) & {"code", "hang", "crash"} or set(base) & {"code", "hang", "crash"}:
            return change
        return {key: _merged(base[key], change[key]) if key in base and key in change
                else copy.deepcopy(change.get(key, base.get(key))) for key in {**base, **change}}  # fmt: skip
    if (
        isinstance(base, list)
        and isinstance(change, list)
        and all(isinstance(e, dict) for e in base + change)
    ):
        if not base:
            return copy.deepcopy(change)
        longest = max(len(base), len(change))
        return [_merged(base[i] if i < len(base) else base[0], change[i] if i < len(change) else {})
                for i in range(longest)]  # fmt: skip
    return copy.deepcopy(change)
