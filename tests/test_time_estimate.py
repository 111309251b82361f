"""The estimate of a playbook's remaining time, before and after its first run."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.ansible.eta import SLOW, TimeEstimate, in_words, learned
from provision.ansible.phases import phase

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
    assert estimate.seconds_left == 72.5  # a task that takes longer than expected is not about to end
    assert 0 < estimate.share < 1
    estimate.finish(keep=True)
    assert TimeEstimate(place).seconds_left == 4 + 49 + 10  # pip did not run, and is not forgotten


def test_a_run_without_work_does_not_make_the_next_installation_look_short(tmp_path: Path) -> None:
    place = tmp_path / "site.pace.json"
    full = [("first", 1.0), (DRIVER, 1080.0), (PIP, 90.0), ("last", 1.0)]
    place.write_text(json.dumps(learned(full, [("first", 1.0), (DRIVER, 2.0), ("last", 1.0)])))
    assert 700 < TimeEstimate(place).seconds_left < 1080
    assert learned([], full) == full
    assert learned(full, full) == full


def test_the_estimate_corrects_itself_on_a_slow_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first slow task takes nine times as long as expected: the remaining time follows while it runs."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    place = tmp_path / "site.pace.json"
    place.write_text(json.dumps([(DRIVER, 120.0), (PIP, 90.0)]))
    estimate = TimeEstimate(place)
    assert estimate.seconds_left == 210
    estimate.begin(DRIVER)
    now[0] = 1000.0
    assert estimate.seconds_left > 600
    assert estimate.share < 0.7
    estimate.begin(PIP)
    assert estimate.pace == 8.0
    estimate.begin("last")
    estimate.finish(keep=True)
    assert TimeEstimate(place).seconds_left > 1000


@given(st.lists(st.tuples(st.sampled_from([DRIVER, PIP, "a", "b"]), st.floats(0, 1e4)), max_size=8),
       st.lists(st.tuples(st.sampled_from([DRIVER, PIP, "a", "c"]), st.floats(0, 1e4)), max_size=8))  # fmt: skip
def test_share_and_remaining_time_are_sound(
    stored: list[tuple[str, float]], run: list[tuple[str, float]]
) -> None:
    """The remaining time is never negative, the share is between 0 and 1, and a run is never at its end before it."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        now = [0.0]
        patch.setattr("time.monotonic", lambda: now[0])
        place = Path(folder) / "pace.json"
        place.write_text(json.dumps(stored))
        estimate = TimeEstimate(place)
        for task, seconds in run:
            estimate.begin(task)
            for _ in range(4):
                now[0] += seconds / 4
                assert estimate.seconds_left >= 0
                assert 0 <= estimate.share <= 1
                if seconds > 4 and now[0] > 0:
                    assert estimate.share < 1
        estimate.finish(keep=True)
        assert all(seconds >= 0 for _, seconds in json.loads(place.read_text()))


@pytest.mark.parametrize(
    ("processes", "expected"),
    [
        ("/sbin/init\n/usr/bin/python3 x\n", ""),
        ("/usr/lib/apt/methods/http\n/usr/bin/apt-get install\n", "downloading"),
        ("/usr/lib/apt/methods/http\n/usr/bin/dpkg --no-triggers --unpack --auto-deconfigure a", "unpacking"),
        ("/usr/bin/dpkg --configure --pending\n/bin/sh /var/lib/dpkg/info/a.postinst configure", "configuring"),
        ("/usr/bin/dpkg --configure -a\nmake -j2\n/usr/lib/gcc/x86_64-linux-gnu/14/cc1 -quiet", "compiling"),
        ("/bin/sh /usr/sbin/dkms autoinstall -k 6.12\n", "compiling"),
        ("/opt/dlbox/venv/uv/bin/uv pip install -q --python x", "downloading"),
        ("/bin/sh /usr/sbin/update-initramfs -u", "building the initramfs"),
        ("/opt/dlbox/venv/dlbox/bin/python /usr/local/bin/dlbox ready --quick --json", "training"),
    ],
)  # fmt: skip
def test_the_phase_is_read_from_the_processes_of_a_box(processes: str, expected: str) -> None:
    assert phase(processes) == expected


@pytest.mark.parametrize(("seconds", "words"), [(20.0, "under a minute left"), (250.0, "about 4 min left")])
def test_remaining_time_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
