"""Properties of the test machines that the other tests rely on."""

from __future__ import annotations

import time

from tests.e2e.container import CARDS, Container


def test_debian_runs_with_its_services(any_container: Container) -> None:
    assert f"VERSION_CODENAME={any_container.suite}" in any_container.output("cat /etc/os-release")
    state = any_container.run("systemctl is-system-running --wait").stdout.strip()
    assert state in ("running", "degraded"), any_container.run("systemctl --failed").stdout
    assert any_container.output("sudo id -u").strip() == "0"
    assert (
        any_container.output("python3 -c 'import sys; print(*sys.version_info[:2], sep=\".\")'").strip()
        == any_container.python
    )


def test_exactly_one_card_is_on_the_bus(any_container: Container) -> None:
    (line,) = any_container.output("lspci -nn").splitlines()
    (card,) = any_container.cards
    assert line.startswith("01:00.0 VGA compatible controller [0300]: NVIDIA Corporation")
    assert f"[10de:{CARDS[card]:04x}]" in line


def test_files_survive_a_reboot_but_not_a_reset(gtx1060: Container) -> None:
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


def test_a_power_cut_ends_all_processes(gtx1060: Container) -> None:
    gtx1060.kill()
    assert gtx1060.run("true").returncode == 255
    gtx1060.boot()
    assert gtx1060.run("true").returncode == 0
