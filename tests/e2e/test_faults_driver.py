"""Faults while the driver is installed: interrupted apt, missing headers, drivers from other sources."""

from __future__ import annotations

import difflib
import json
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from provision.ansible.outcome import HostOutcome
from provision.ansible.variables import driver
from tests.e2e import layers, stand_in
from tests.e2e.container import Container
from tests.e2e.test_faults import start
from tests.e2e.test_provision import play

TAGS = ("preflight", "driver")


@pytest.fixture
def box(gtx1060: Container) -> Container:
    """A reset container whose apt has the dummy packages."""
    gtx1060.reset()
    stand_in.install(gtx1060)
    return gtx1060


def role_vars() -> dict[str, Any]:
    no_frameworks = {"frameworks_environments": [], "frameworks_python_packages": []}
    return {**driver(layers.plan("bookworm", "GTX 1060")), **no_frameworks}


def provision(box: Container, folder: Path, **variables: Any) -> HostOutcome:
    return play(box, folder, "site.yml", {**role_vars(), **variables}, *TAGS)


def module_of(box: Container, kernel: str = "$(linux-version list | linux-version sort | tail -n 1)") -> str:
    return box.run(f"/sbin/modinfo -k {kernel} -F version nvidia-current").stdout.strip()


def assert_complete(box: Container, folder: Path) -> None:
    """Assert that all is installed, compiled for the next kernel and held, and that another run changes nothing."""
    assert box.output("sudo dpkg --audit; dpkg -l | grep -c '^i[^i]' || :").strip() in ("0", "")
    assert module_of(box) == stand_in.VERSION.partition("-")[0]
    held = set(box.output("apt-mark showhold").split())
    assert {"nvidia-driver", "nvidia-kernel-dkms", "libcuda1"} <= held
    assert json.loads(box.output("cat /var/lib/dlbox/driver.json"))["finished"] is True
    again = provision(box, folder)
    assert (again.status, again.changed) == ("ok", ()), again


def until(box: Container, path: str, limit_s: float = 900) -> None:
    deadline = time.monotonic() + limit_s
    while not (box.root / path).exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.1)


def begun(box: Container, folder: Path) -> Any:
    """Start a controller in a separate process and wait until apt is installing."""
    (box.root / "root/slow").touch()
    controller = start(box, folder, role_vars(), TAGS)
    until(box, "root/begun")
    return controller


def test_a_power_cut_while_apt_works(box: Container, tmp_path: Path) -> None:
    controller = begun(box, tmp_path)
    box.kill()
    assert controller.wait(timeout=900) == 0
    (box.root / "root/slow").unlink()
    box.boot()
    assert "nvidia-kernel-dkms" in box.output("sudo dpkg --audit")
    assert provision(box, tmp_path).status == "changed"
    assert_complete(box, tmp_path)


def test_the_controller_is_killed_while_apt_works_and_apt_goes_on(box: Container, tmp_path: Path) -> None:
    """A second run starts while the first one's apt still has the lock: it waits."""
    controller = begun(box, tmp_path)
    family = psutil.Process(controller.pid).children(recursive=True)
    for process in (psutil.Process(controller.pid), *family):
        process.kill()
    controller.wait()
    assert box.run("pgrep -x dpkg").returncode == 0
    second = start(box, tmp_path, role_vars(), TAGS)
    time.sleep(15)
    assert second.poll() is None
    (box.root / "root/slow").unlink()
    assert second.wait(timeout=900) == 0
    assert_complete(box, tmp_path)


def test_apt_is_killed_on_the_target(box: Container, tmp_path: Path) -> None:
    """As the kernel does when memory runs out."""
    controller = begun(box, tmp_path)
    box.output("sudo pkill -9 -x apt-get; sudo pkill -9 -x dpkg; sudo rm /root/slow; :")
    assert controller.wait(timeout=900) == 0
    provision(box, tmp_path)
    assert_complete(box, tmp_path)


def test_a_kernel_that_came_without_headers(box: Container, tmp_path: Path) -> None:
    assert provision(box, tmp_path).status == "changed"
    box.output(f"sudo apt-get install -q -y --no-install-recommends linux-image-{stand_in.NEW_KERNEL}")
    assert module_of(box) == ""
    assert provision(box, tmp_path).status == "changed"
    assert module_of(box, stand_in.NEW_KERNEL)
    assert_complete(box, tmp_path)


def test_a_module_that_was_never_compiled(box: Container, tmp_path: Path) -> None:
    """Headers and packages are installed; only the module is missing."""
    assert provision(box, tmp_path).status == "changed"
    box.output("sudo rm -r /lib/modules/*/updates/dkms && sudo depmod $(linux-version list)")
    assert provision(box, tmp_path).status == "changed"
    assert_complete(box, tmp_path)


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("usr/bin/nvidia-uninstall", "#!/bin/sh\n", ("sudo nvidia-uninstall", "/usr/bin/nvidia-uninstall")),
        (
            "etc/apt/sources.list.d/cuda-debian12-x86_64.list",
            "deb [trusted=yes] https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64/ /\n",
            ("/etc/apt/sources.list.d/cuda-debian12-x86_64.list", "remove the file"),
        ),
    ],
    ids=["runfile", "repository"],
)
def test_another_source_of_drivers_is_refused(
    box: Container, tmp_path: Path, path: str, text: str, words: tuple[str, ...]
) -> None:
    before = box.output("dpkg -l; ls -R /etc/apt")
    (box.root / path).write_text(text)
    refused = provision(box, tmp_path)
    assert refused.status == "failed"
    for word in words:
        assert word in (refused.message or ""), refused.message
    (box.root / path).unlink()
    assert box.output("dpkg -l; ls -R /etc/apt") == before
    assert provision(box, tmp_path).status == "changed"


def test_a_driver_of_another_branch_is_refused(box: Container, tmp_path: Path) -> None:
    """It was installed by hand, so dlbox does not replace it; the remedy in the message works."""
    stand_in.install_other(box, "470.256.02-1")
    refused = provision(box, tmp_path)
    assert refused.status == "failed"
    assert "nvidia-driver" in (refused.message or "")
    assert "sudo apt purge" in (refused.message or "")
    box.output("sudo apt-get purge -q -y '*nvidia*' 'libcuda*' && sudo apt-get autoremove -q -y")
    assert provision(box, tmp_path).status == "changed"


LEFT = (
    "cd / && sudo find etc var/lib/dkms usr/lib/systemd -printf '%p %y %m %u %g %l\\n' 2>/dev/null | sort;"
    " sudo sh -c 'cd /etc && find . -type f -print0 | sort -z | xargs -0 sha256sum';"
    " find /var/cache/apt/archives -name '*.deb' | sort; systemctl is-system-running;"
    " systemctl list-units --all --state=failed --plain --no-legend"
)
"""Everything that a rollback must restore: content, owner, group and mode of files, apt's archives, services."""

UNIT = "[Service]\nExecStart=/bin/sleep infinity\nExecStop=/bin/false\n"


def test_a_rollback_restores_owners_services_archives_and_the_key(box: Container, tmp_path: Path) -> None:
    """A package like nvidia-persistenced: an account, a service that fails when it is stopped, and a key of DKMS."""
    place = box.root / "srv/stand-in"
    stand_in.deb(
        place, "nvidia-persistenced", stand_in.VERSION,
        files={"/usr/lib/systemd/system/nvidia-persistenced.service": UNIT.encode()},
        postinst="useradd --system --no-create-home nvpd\nmkdir -p /var/lib/dkms\ntouch /var/lib/dkms/mok.key"
                 " /var/lib/dkms/mok.pub\nsystemctl daemon-reload\nsystemctl start nvidia-persistenced",
    )  # fmt: skip
    stand_in.index(place)
    box.output("sudo apt-get update -q", timeout_s=300)
    before = box.output(LEFT).splitlines()
    assert "etc/shadow- f 640 root shadow " in before
    wanted = {"nvidia_driver_packages": [*role_vars()["nvidia_driver_packages"], "nvidia-persistenced"]}
    assert provision(box, tmp_path, **wanted).status == "changed"
    assert box.run("id nvpd && test -e /var/lib/dkms/mok.key").returncode == 0
    assert box.run("sudo cp /bin/true /var/cache/apt/archives/nvidia-smi_1_amd64.deb").returncode == 0
    back = play(box, tmp_path, "rollback.yml", role_vars())
    assert back.status == "changed", back
    assert not list(difflib.unified_diff(before, box.output(LEFT).splitlines(), lineterm="", n=0))
