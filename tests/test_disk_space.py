"""The disk space that a plan needs: added up per file system, and the initramfs of every kernel in /boot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision import PROVISION_DIR
from provision.artifacts.disk_space import APPLICATION, INITRAMFS_GROWTH, demands, shortages
from provision.resolve import box_reading
from tests.conftest import script
from tests.test_box_reading import READING, box, provision
from tests.test_stack import stack
from tests.test_variables import root

__all__ = ["root"]  # a fixture: the files of a box

reader = script(PROVISION_DIR / "roles/preflight/files/box.py")
GB = 10**9


def reading(free: dict[str, int | None], systems: dict[str, int | None], **more: Any) -> dict[str, Any]:
    return {"packages": {}, "environments": [], "free_bytes": free, "file_systems": systems, **more}


ONE = dict.fromkeys(("/", "/boot", "/usr", "/opt", "/var"), 1)


def test_folders_on_one_file_system_need_the_sum() -> None:
    plan = stack("RTX 3060")
    whole = sum(demands(plan, reading({}, {})).values())
    assert whole > 15 * GB
    (short,) = shortages(plan, reading(dict.fromkeys(ONE, whole - GB), ONE))
    assert {"/usr", "/opt", "/var"} <= set(short.places)
    assert short.needed > whole
    assert shortages(plan, reading(dict.fromkeys(ONE, whole + GB), ONE)) == ()
    # Each folder alone would have passed.
    apart = {place: number for number, place in enumerate(ONE)}
    assert shortages(plan, reading(dict.fromkeys(ONE, whole - GB), apart)) == ()


@pytest.mark.parametrize(("more", "less"), [("RTX 3060", None), ("RTX 3060", "RTX 5060")])
def test_a_smaller_plan_needs_less(more: str, less: str | None) -> None:
    small = stack(less) if less else stack()
    assert sum(demands(small, reading({}, {})).values()) < sum(demands(stack(more), reading({}, {})).values())
    assert sum(demands(stack(more, frameworks=("jax",)), {}).values()) < sum(
        demands(stack(more), {}).values()
    )
    assert sum(demands(stack(more, cuda_toolkit=True), {}).values()) > sum(demands(stack(more), {}).values())


def test_what_is_already_installed_needs_no_space() -> None:
    plan = stack("RTX 3060")
    assert plan.driver is not None
    installed = reading(
        {}, {}, packages={plan.driver.packages[-1]: "580"}, environments=[*plan.environments, "dlbox"]
    )
    assert demands(plan, installed) == {}
    partly = {**installed, "environments": ["jax"]}
    assert demands(plan, partly).keys() == {"/opt"}


@pytest.mark.parametrize(
    ("has_driver", "free_mb", "enough"),
    [(True, 500, False), (True, 900, True), (False, 200, False), (False, 300, True)],
)
def test_boot_holds_the_initramfs_of_every_kernel(has_driver: bool, free_mb: int, enough: bool) -> None:
    plan = stack("RTX 3060")
    state = {"files": 3, "largest": 80 * 10**6, "has_driver": has_driver}
    apart = {place: number for number, place in enumerate(ONE)}
    free = {**dict.fromkeys(ONE, 100 * GB), "/boot": free_mb * 10**6}
    found = shortages(plan, reading(free, apart, initramfs=state))
    assert bool(found) is not enough
    assert demands(plan, {"initramfs": state})["/boot"] == 80 * 10**6 + (
        3 * INITRAMFS_GROWTH if has_driver else 0
    )
    if found:
        assert found[0].places == ("/boot",)
        assert "apt autoremove" in found[0].text


def test_without_a_driver_boot_is_not_counted() -> None:
    state = {"files": 3, "largest": 80 * 10**6, "has_driver": True}
    for plan in (stack(), stack("RTX 3060", environment="container")):
        assert set(demands(plan, {"initramfs": state})) == {"/opt"}
        assert demands(plan, {})["/opt"] > APPLICATION


SPACE = st.dictionaries(st.sampled_from(sorted(ONE)), st.none() | st.integers(0, 10**14), max_size=5)


@given(SPACE, st.dictionaries(st.sampled_from(sorted(ONE)), st.none() | st.integers(0, 3), max_size=5))
def test_shortages_cover_each_folder_once(
    free: dict[str, int | None], systems: dict[str, int | None]
) -> None:
    plan = stack("RTX 3060")
    found = shortages(plan, reading(free, systems))
    places = [place for short in found for place in short.places]
    assert len(places) == len(set(places))
    for short in found:
        assert short.free < short.needed
        assert short.free == free[short.places[0]]
        assert short.text.isprintable()


def test_the_box_reports_file_systems_and_initramfs(root: Path) -> None:
    (root / "boot").mkdir()
    for name, size in {
        "initrd.img-6.8.0-151-generic": 7,
        "initrd.img-7.0.0-43-generic": 9,
        "vmlinuz-7": 20,
    }.items():
        (root / "boot" / name).write_bytes(b"0" * size)
    assert reader.initramfs(root) == {"files": 2, "largest": 9, "has_driver": False}
    conf = root / "etc/initramfs-tools/modules"
    conf.parent.mkdir(parents=True)
    conf.write_text("# nvidia\next4\n")
    assert not reader.initramfs(root)["has_driver"]
    conf.write_text("nvidia_drm modeset=1\n")
    assert reader.initramfs(root)["has_driver"]
    (root / "opt/dlbox/venv/torch").mkdir(parents=True)
    document = json.loads(json.dumps(reader.read(root)))
    assert box_reading.read(document)["environments"] == ["torch"]
    assert len(set(document["file_systems"].values())) == 1


def test_provision_installs_nothing_on_a_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    full = {**READING, "free_bytes": dict.fromkeys(ONE, 4 * GB), "file_systems": ONE}
    code, messages, jobs = provision(monkeypatch, tmp_path, (box("desk", full),))
    assert (code, len(jobs)) == (1, 1)
    assert 'desk: task "The file systems have enough free space for the plan" failed' in messages[0]
    assert "this plan needs" in messages[0]
    wide = {**full, "free_bytes": dict.fromkeys(ONE, 400 * GB)}
    assert provision(monkeypatch, tmp_path, (box("desk", wide),))[0] == 0
