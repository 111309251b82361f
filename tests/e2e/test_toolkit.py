"""The system CUDA toolkit: apt itself, sources, pins and rollback, with dummy packages and a fake nvcc.

Without a card and a real compiler, the role's small CUDA program is not tested.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.ansible import variables
from provision.ansible.outcome import HostOutcome
from tests.e2e import layers, stand_in
from tests.e2e.container import Container
from tests.e2e.repository import Repository
from tests.e2e.test_provision import LOOK, play

NO_DRIVER = "CUDA driver version is insufficient for CUDA runtime version"
NVCC = """\
#!/bin/sh
# Prints its release; else writes a program that prints what the real one prints without a driver.
case "$1" in --version) echo "Cuda compilation tools, release {release}, V{release}.99"; exit 0 ;; esac
echo "$@" > /tmp/nvcc-was-asked
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\\necho "{says}"\\nexit {code}\\n' > "$2"
chmod +x "$2"
"""


def nvcc(release: str, says: str = NO_DRIVER, code: int = 3) -> str:
    return NVCC.format(release=release, says=says, code=code)


def own_toolkit(container: Container, script: str) -> None:
    """Put a newer dummy of Debian's package into the container's own repository."""
    place = container.root / "srv/toolkit"
    place.mkdir(parents=True, exist_ok=True)
    stand_in.deb(place, "nvidia-cuda-toolkit", "11.9.0-1", executables={"/usr/bin/nvcc": script})
    stand_in.index(place)
    (container.root / "etc/apt/sources.list.d/toolkit.list").write_text(
        "deb [trusted=yes] file:/srv/toolkit ./\n"
    )
    container.output("sudo apt-get update -q", timeout_s=300)


@pytest.fixture
def container(gtx1060: Container) -> Container:
    gtx1060.reset()
    return gtx1060


@pytest.fixture
def role_vars() -> dict[str, Any]:
    """The plan's variables for the role cuda only."""
    found = variables.toolkit(layers.plan("bookworm", "GTX 1060", cuda_toolkit=True))
    assert found["cuda_packages"] == ["nvidia-cuda-toolkit"]
    return {"site_preflight": False, "frameworks_environments": [], "frameworks_python_packages": [], **found}


@pytest.fixture
def nvidia(tmp_path: Path) -> Iterator[Repository]:
    with Repository(tmp_path) as repository:
        repository.add(
            "cuda-toolkit-12-9", "12.9.1-1", executables={"/usr/local/cuda-12.9/bin/nvcc": nvcc("12.9")}
        )
        repository.add("bash", "99.0-1")
        repository.sign()
        yield repository


def from_nvidia(role_vars: dict[str, Any], repository: Repository) -> dict[str, Any]:
    wanted = {"cuda_version": "12.9.1", "cuda_packages": ["cuda-toolkit-12-9"], "cuda_pin": True}
    return {**role_vars, **wanted, "cuda_repository": repository.variable()}


def run(container: Container, folder: Path, role_vars: dict[str, Any], *, check: bool = False) -> HostOutcome:
    return play(container, folder, "site.yml", role_vars, "cuda", check=check)


def test_debians_toolkit_is_installed_tested_and_removed(
    container: Container, role_vars: dict[str, Any], tmp_path: Path
) -> None:
    own_toolkit(container, nvcc("11.8"))
    before = container.output(LOOK).splitlines()
    dry = run(container, tmp_path, role_vars, check=True)
    assert dry.status == "changed", dry
    assert container.output(LOOK).splitlines() == before

    first = run(container, tmp_path, role_vars)
    assert first.status == "changed", first
    assert "arch=compute_61,code=sm_61" in container.output("cat /tmp/nvcc-was-asked")
    assert "non-free" in container.output("cat /etc/apt/sources.list.d/dlbox-components.sources")
    second = run(container, tmp_path, role_vars)
    assert (second.status, second.changed) == ("ok", ()), second

    assert play(container, tmp_path, "rollback.yml", role_vars).status == "changed"
    assert not list(difflib.unified_diff(before, container.output(LOOK).splitlines(), lineterm="", n=0))


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (nvcc("10.1"), "the plan has CUDA 11.8, and nvcc reports"),
        (nvcc("11.8", "12 + 84 gave 0", 1), "does not compute correctly: 12 + 84 gave 0"),
        (
            "#!/bin/sh\ncase $1 in --version) echo release 11.8, ;; *) echo no g++ >&2; exit 1 ;; esac\n",
            "no g++",
        ),
    ],
)
def test_a_broken_toolkit_is_detected(
    container: Container, role_vars: dict[str, Any], tmp_path: Path, script: str, words: str
) -> None:
    own_toolkit(container, script)
    host = run(container, tmp_path, role_vars)
    assert host.status == "failed"
    assert words.lower() in (host.message or "").lower(), host


def test_only_the_toolkit_comes_from_nvidias_repository(
    container: Container, role_vars: dict[str, Any], nvidia: Repository, tmp_path: Path
) -> None:
    container.output(
        "sudo apt-get update -q && sudo apt-get install -qy --no-install-recommends g++", timeout_s=300
    )
    before = container.output(LOOK).splitlines()
    role_vars = from_nvidia(role_vars, nvidia)
    first = run(container, tmp_path, role_vars)
    assert first.status == "changed", first
    assert container.output("dpkg-query -W -f '${Version}' cuda-toolkit-12-9") == "12.9.1-1"
    policy = container.output("apt-cache policy bash")
    assert "99.0-1 100" in policy, policy
    assert "Candidate: 99.0-1" not in policy
    sources = container.output(f"grep -rlF {nvidia.uri} /etc/apt/sources.list /etc/apt/sources.list.d")
    assert sources.split() == ["/etc/apt/sources.list.d/dlbox-nvidia.sources"]
    second = run(container, tmp_path, role_vars)
    assert (second.status, second.changed) == ("ok", ()), second
    assert play(container, tmp_path, "rollback.yml", role_vars).status == "changed"
    assert not list(difflib.unified_diff(before, container.output(LOOK).splitlines(), lineterm="", n=0))


def test_a_key_of_another_fingerprint_is_refused_and_removed(
    container: Container, role_vars: dict[str, Any], nvidia: Repository, tmp_path: Path
) -> None:
    role_vars = from_nvidia(role_vars, nvidia)
    role_vars["cuda_repository"]["fingerprint"] = "0" * 40
    host = run(container, tmp_path, role_vars)
    assert host.status == "failed"
    assert nvidia.fingerprint in (host.message or ""), host
    for path in ("keyrings/dlbox-nvidia.asc", "sources.list.d/dlbox-nvidia.sources"):
        assert container.run(f"test -e /etc/apt/{path}").returncode == 1


def test_a_repository_signed_by_another_key_is_not_used(
    container: Container, role_vars: dict[str, Any], nvidia: Repository, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with Repository(other) as stranger:
        stranger.add("cuda-toolkit-12-9", "12.9.1-1")
        stranger.sign()
        role_vars = from_nvidia(role_vars, nvidia)
        role_vars["cuda_repository"]["uri"] = stranger.uri
        host = run(container, tmp_path, role_vars)
    assert host.status == "failed"
    assert container.run("dpkg -s cuda-toolkit-12-9").returncode != 0
