"""The lock files that serve a machine, by the rules of the resolver."""

from __future__ import annotations

import pytest

from inventory.cards import cards
from provision.artifacts import builds
from provision.resolve import boxes
from provision.resolve.load import load
from provision.resolve.stack import NoStack, Request, resolve

DATA = load()

CATALOGUE = {int(pci_id[5:], 16): card for card in cards.catalogue() for pci_id in card.pci_ids}
UNLISTED = [0x1180, 0x128B, 0x0A20, 0x1C60, 0x2BFF, 0x1DB4, 0x3FFF]
"""Kepler and older cards, and cards that the catalogue does not have."""


@pytest.mark.parametrize("device", [*CATALOGUE, *UNLISTED], ids=lambda device: f"{device:04x}")
def test_the_decision_is_that_of_the_plan(device: int) -> None:
    request = Request(distribution="ubuntu-24.04", targets=(boxes.target_of(device),))
    mine, stack = builds.frameworks_for(request), resolve(request)
    if isinstance(stack, NoStack):
        assert mine.build == "cpu"
        return
    for name in ("tensorflow", "torch", "jax"):
        row = builds.locked_row(name, DATA)  # type: ignore[arg-type]
        assert row is not None
        # A framework that the plan leaves out is not installed; one with the planned version is.
        assert name in mine.refusals or name in stack.environments
        if stack.environments.get(name, {}).get(name) == row.version and name not in stack.indexes:
            assert name not in mine.refusals
    if mine.backend is not None:
        assert mine.backend == stack.backend
    else:
        version = stack.environments[stack.backend][stack.backend]
        row = builds.locked_row(stack.backend, DATA)  # type: ignore[arg-type]
        assert row is not None
        assert version != row.version or stack.backend in stack.indexes


@pytest.mark.parametrize(
    ("devices", "build", "backend"),
    [
        ((0x2D05,), "torch-cuda", "torch"),  # RTX 50
        ((0x2503,), "cuda", "tensorflow"),
        ((0x1B06,), "cuda", "tensorflow"),  # GTX 10
        ((0x1380,), "cpu", None),  # GTX 750 Ti
        ((0x128B, 0x2805), "cuda", "tensorflow"),  # GT 710 for the screen
        ((0x128B, 0x2D05), "torch-cuda", "torch"),
        ((0x2503, 0x2D05), "torch-cuda", "torch"),
        ((0x128B,), "cpu", "tensorflow"),
    ],
)
def test_the_cards_select_the_build(devices: tuple[int, ...], build: str, backend: str | None) -> None:
    targets = tuple(boxes.target_of(device) for device in devices)
    found = builds.frameworks_for(Request(distribution="debian-13", targets=targets))
    assert (found.build, found.backend) == (build, backend)


@pytest.mark.parametrize(("device", "framework"), [(0x1B06, "torch"), (0x1380, "torch"), (0x1380, "jax")])
def test_a_framework_without_code_for_the_card_is_refused(device: int, framework: str) -> None:
    request = Request(distribution="debian-13", targets=(boxes.target_of(device),))
    found = builds.frameworks_for(request, framework=framework)  # type: ignore[arg-type]
    assert found.backend is None
    assert f"./dlbox provision --framework {framework}" in found.why


@pytest.mark.parametrize(
    ("version", "framework", "backend"),
    [("580.65.06", "torch", "torch"), ("550.163.01", "torch", None), ("550.163.01", None, "tensorflow")],
)
def test_the_loaded_driver_limits_the_build(version: str, framework: str | None, backend: str | None) -> None:
    mine = Request(distribution="debian-13", targets=(boxes.target_of(0x2503),), driver_version=version)
    found = builds.frameworks_for(mine, framework=framework)  # type: ignore[arg-type]
    assert found.backend == backend
    if backend is None:
        assert "needs driver 580 or later, and the driver is 550" in found.why
        assert "`./dlbox provision --framework torch`" in found.why


def test_a_machine_without_a_card_gets_the_cpu_build() -> None:
    found = builds.frameworks_for(Request(distribution="arch-1"))
    assert (found.build, found.backend, found.additions) == ("cpu", "tensorflow", ())
    found = builds.frameworks_for(Request(distribution="arch-1", cpu_flags=("sse4_2",)))
    assert (found.build, found.backend, found.additions) == ("cpu", "torch", ("torch-cpu",))
    assert "AVX" in found.refusals["jax"]
