"""How long a playbook will still take, before and after it ran once."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.ansible.eta import SLOW, TimeEstimate, in_words

DRIVER = "nvidia_driver: The packages of the driver are installed"
PIP = "environment: The packages are installed"


def test_a_box_without_a_card_is_not_told_of_the_drivers_minutes(tmp_path: Path) -> None:
    place = tmp_path / "site.pace.json"
    assert TimeEstimate(place).seconds_left == sum(SLOW.values())
    without = TimeEstimate(place, driver=False).seconds_left
    assert without == sum(s for task, s in SLOW.items() if not task.startswith("nvidia_driver: "))
    assert TimeEstimate(place, slow=False).seconds_left == 0
    place.write_text(f'[["{DRIVER}", 400.0], ["{PIP}", 70.0]]')  # as another box had it
    assert TimeEstimate(place).seconds_left == 470
    assert TimeEstimate(place, driver=False).seconds_left == 70


def test_what_is_over_does_not_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    place = tmp_path / "site.pace.json"
    place.write_text(f'[["first", 5.0], ["{PIP}", 70.0], ["last", 5.0]]')
    pace = TimeEstimate(place)
    pace.begin("first")
    now[0] += 4
    assert pace.seconds_left == 76
    pace.begin("last")  # pip was left out, but may still come
    assert pace.seconds_left == 75
    now[0] += 10
    assert pace.seconds_left == 70
    assert 0 < pace.share < 1
    pace.finish(keep=True)
    assert TimeEstimate(place).seconds_left == 14


@pytest.mark.parametrize(("seconds", "words"), [(20.0, "under a minute left"), (250.0, "about 4 min left")])
def test_minutes_are_said_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
