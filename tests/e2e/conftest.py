"""Beds for the tests: skipped with the reason where there can be none, failed with DLBOX_E2E=required."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import base
from tests.e2e.bed import Bed

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(45 * 60))


@pytest.fixture(scope="session")
def beds_are_possible() -> None:
    why = base.lacking()
    if why and os.environ.get("DLBOX_E2E") == "required":
        pytest.fail(why)
    if why:
        pytest.skip(why)


@pytest.fixture(scope="module")
def bed(beds_are_possible: None) -> Iterator[Bed]:
    """Debian 12 without a card."""
    with Bed("plain") as machine:
        yield machine


MACHINES = {
    "debian-12 GTX 1060": ("bookworm", "GTX 1060"),
    "debian-13 RTX 3060": ("trixie", "RTX 3060"),
    "debian-13 RTX 5060": ("trixie", "RTX 5060"),
}


@pytest.fixture(scope="module", params=list(MACHINES.values()), ids=list(MACHINES))
def any_bed(beds_are_possible: None, request: pytest.FixtureRequest) -> Iterator[Bed]:
    """Each release with a card of each kind of plan: closed modules, either, open modules only."""
    suite, card = request.param
    with Bed("any", suite=suite, cards=[card]) as machine:
        yield machine


@pytest.fixture(scope="module")
def gtx1060(beds_are_possible: None) -> Iterator[Bed]:
    """Debian 12 with a GTX 1060 on the bus, as far as anybody can see who does not load a driver."""
    with Bed("gtx1060", cards=["GTX 1060"]) as machine:
        yield machine
