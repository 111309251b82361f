"""Test machines. Where they cannot be started the tests are skipped, or fail with DLBOX_E2E=required."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import base
from tests.e2e.container import Container

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(45 * 60))


@pytest.fixture(scope="session")
def containers_available() -> None:
    why = base.lacking()
    if why and os.environ.get("DLBOX_E2E") == "required":
        pytest.fail(why)
    if why:
        pytest.skip(why)


@pytest.fixture(scope="module")
def container(containers_available: None) -> Iterator[Container]:
    """Debian 12 without a card."""
    with Container("plain") as started:
        yield started


MACHINES = {
    "debian-12 GTX 1060": ("bookworm", "GTX 1060"),
    "debian-13 RTX 3060": ("trixie", "RTX 3060"),
    "debian-13 RTX 5060": ("trixie", "RTX 5060"),
}


@pytest.fixture(scope="module", params=list(MACHINES.values()), ids=list(MACHINES))
def any_container(containers_available: None, request: pytest.FixtureRequest) -> Iterator[Container]:
    """Each release, with a card for closed modules, for both kinds, or for open modules only."""
    suite, card = request.param
    with Container("any", suite=suite, cards=[card]) as started:
        yield started


@pytest.fixture(scope="module")
def gtx1060(containers_available: None) -> Iterator[Container]:
    """Debian 12 with a GTX 1060 on its PCI bus, as long as no driver is loaded."""
    with Container("gtx1060", cards=["GTX 1060"]) as started:
        yield started
