"""The beds themselves: what they must be for the other tests to mean anything."""

from __future__ import annotations

import time

from tests.e2e.bed import Bed


def test_it_is_a_debian_whose_services_run(gtx1060: Bed) -> None:
    assert "VERSION_CODENAME=bookworm" in gtx1060.output("cat /etc/os-release")
    state = gtx1060.run("systemctl is-system-running --wait").stdout.strip()
    assert state in ("running", "degraded"), gtx1060.run("systemctl --failed").stdout
    assert gtx1060.output("sudo id -u").strip() == "0"


def test_the_card_is_on_the_bus_and_alone(gtx1060: Bed) -> None:
    assert (
        gtx1060.output("lspci -nn")
        .strip()
        .startswith(
            "01:00.0 VGA compatible controller [0300]: NVIDIA Corporation GP106 [GeForce GTX 1060 6GB] [10de:1c03]"
        )
    )
    assert len(gtx1060.output("lspci").splitlines()) == 1


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
