"""The estimate of a playbook's remaining time, before and after its first run."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.ansible.eta import SLOW, TimeEstimate, in_words

DRIVER = "nvidia_driver: The packages of the driver are installed"
PIP = "environment: The packages are installed"


def test_a_box_without_a_card_does_not_expect_driver_tasks(tmp_path: Path) -> None:
    place = tmp_path / "site.pace.json"
    assert TimeEstimate(place).seconds_left == sum(SLOW.values())
    without = TimeEstimate(place, driver=False).seconds_left
    assert without == sum(s for task, s in SLOW.items() if not task.startswith("nvidia_driver: "))
    assert TimeEstimate(place, slow=False).seconds_left == 0
    place.write_text(f'[["{DRIVER}", 400.0], ["{PIP}", 70.0]]')  # from a run on another box
    assert TimeEstimate(place).seconds_left == 470
    assert TimeEstimate(place, driver=False).seconds_left == 70


def test_finished_tasks_are_not_expected_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    place = tmp_path / "site.pace.json"
    place.write_text(f'[["first", 5.0], ["{PIP}", 70.0], ["last", 5.0]]')
    estimate = TimeEstimate(place)
    estimate.begin("first")
    now[0] += 4
    assert estimate.seconds_left == 76
    estimate.begin("last")  # pip was skipped, but may still come
    assert estimate.seconds_left == 75
    now[0] += 10
    assert estimate.seconds_left == 70
    assert 0 < estimate.share < 1
    estimate.finish(keep=True)
    assert TimeEstimate(place).seconds_left == 14


@pytest.mark.parametrize(("seconds", "words"), [(20.0, "under a minute left"), (250.0, "about 4 min left")])
def test_remaining_time_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
