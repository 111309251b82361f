"""The beds themselves: what they must be for the other tests to mean anything."""

from __future__ import annotations

import time

from tests.e2e.bed import CARDS, Bed


def test_it_is_a_debian_whose_services_run(any_bed: Bed) -> None:
    assert f"VERSION_CODENAME={any_bed.suite}" in any_bed.output("cat /etc/os-release")
    state = any_bed.run("systemctl is-system-running --wait").stdout.strip()
    assert state in ("running", "degraded"), any_bed.run("systemctl --failed").stdout
    assert any_bed.output("sudo id -u").strip() == "0"
    assert (
        any_bed.output("python3 -c 'import sys; print(*sys.version_info[:2], sep=\".\")'").strip()
        == any_bed.python
    )


def test_the_card_is_on_the_bus_and_alone(any_bed: Bed) -> None:
    (line,) = any_bed.output("lspci -nn").splitlines()
    (card,) = any_bed.cards
    assert line.startswith("01:00.0 VGA compatible controller [0300]: NVIDIA Corporation")
    assert f"[10de:{CARDS[card]:04x}]" in line


def test_a_reset_forgets_and_a_reboot_does_not(gtx1060: Bed) -> None:
    gtx1060.output("sudo touch /etc/kept")
    started = "stat -c %Y /run/systemd/system || true; cut -d' ' -f22 /proc/1/stat"
    before = gtx1060.output(started)
    gtx1060.run("sudo systemctl reboot")
    deadline = time.monotonic() + 60
    while gtx1060.run(started).stdout in ("", before):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert gtx1060.run("test -e /etc/kept").returncode == 0
    gtx1060.reset()
    assert gtx1060.run("test -e /etc/kept").returncode == 1


def test_a_power_cut_leaves_nothing_running(gtx1060: Bed) -> None:
    gtx1060.kill()
    assert gtx1060.run("true").returncode == 255
    gtx1060.boot()
    assert gtx1060.run("true").returncode == 0
