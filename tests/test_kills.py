"""Runs that are killed at any moment leave nothing running, a history that tells of them, and no temporary files."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.campaign import kills


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    campaign = kills.Campaign(tmp_path)
    seed = random.randrange(1000)  # noqa: S311 - another each time, and told
    for kill in kills.kills(len(kills.WAYS), seed, 15.0):
        assert (kill, campaign.run(kill), campaign.leftovers()) == (kill, [], []), f"seed {seed}"


def test_the_moments_are_the_same_for_the_same_seed() -> None:
    once, again, other = (list(kills.kills(9, seed, 30.0)) for seed in (1, 1, 2))
    assert once == again != other
    assert {kill.way for kill in once} == set(kills.WAYS)
