"""The system CUDA toolkit: real apt, sources, pins and rollback; stand-ins of the packages, whose nvcc is no compiler.

That the small program is right CUDA is not seen here: no card and no real compiler is.
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
from tests.e2e.bed import Bed
from tests.e2e.repository import Repository
from tests.e2e.test_provision import LOOK, play

NO_DRIVER = "CUDA driver version is insufficient for CUDA runtime version"
NVCC = """\
#!/bin/sh
# Says its release; else writes a program that answers as the real one does without a driver.
case "$1" in --version) echo "Cuda compilation tools, release {release}, V{release}.99"; exit 0 ;; esac
echo "$@" > /tmp/nvcc-was-asked
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\\necho "{says}"\\nexit {code}\\n' > "$2"
chmod +x "$2"
"""


def nvcc(release: str, says: str = NO_DRIVER, code: int = 3) -> str:
    return NVCC.format(release=release, says=says, code=code)


def own_toolkit(bed: Bed, script: str) -> None:
    """Debian's package, newer than the archive's, on the bed itself."""
    place = bed.root / "srv/toolkit"
    place.mkdir(parents=True, exist_ok=True)
    stand_in.deb(place, "nvidia-cuda-toolkit", "11.9.0-1", executables={"/usr/bin/nvcc": script})
    stand_in.index(place)
    (bed.root / "etc/apt/sources.list.d/toolkit.list").write_text("deb [trusted=yes] file:/srv/toolkit ./\n")
    bed.output("sudo apt-get update -q", timeout_s=300)


@pytest.fixture
def bed(gtx1060: Bed) -> Bed:
    gtx1060.reset()
    return gtx1060


@pytest.fixture
def told() -> dict[str, Any]:
    """The plan's own variables, for the role cuda alone."""
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


def from_nvidia(told: dict[str, Any], repository: Repository) -> dict[str, Any]:
    wanted = {"cuda_version": "12.9.1", "cuda_packages": ["cuda-toolkit-12-9"], "cuda_pin": True}
    return {**told, **wanted, "cuda_repository": repository.variable()}


def run(bed: Bed, folder: Path, told: dict[str, Any], *, check: bool = False) -> HostOutcome:
    return play(bed, folder, "site.yml", told, "cuda", check=check)


def test_debians_toolkit_comes_is_tried_and_goes(bed: Bed, told: dict[str, Any], tmp_path: Path) -> None:
    own_toolkit(bed, nvcc("11.8"))
    before = bed.output(LOOK).splitlines()
    dry = run(bed, tmp_path, told, check=True)
    assert dry.status == "changed", dry
    assert bed.output(LOOK).splitlines() == before

    first = run(bed, tmp_path, told)
    assert first.status == "changed", first
    assert "arch=compute_61,code=sm_61" in bed.output("cat /tmp/nvcc-was-asked")
    assert "non-free" in bed.output("cat /etc/apt/sources.list.d/dlbox-components.sources")
    second = run(bed, tmp_path, told)
    assert (second.status, second.changed) == ("ok", ()), second

    assert play(bed, tmp_path, "rollback.yml", told).status == "changed"
    assert not list(difflib.unified_diff(before, bed.output(LOOK).splitlines(), lineterm="", n=0))


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
def test_a_toolkit_that_does_not_serve_is_found_out(
    bed: Bed, told: dict[str, Any], tmp_path: Path, script: str, words: str
) -> None:
    own_toolkit(bed, script)
    host = run(bed, tmp_path, told)
    assert host.status == "failed"
    assert words.lower() in (host.message or "").lower(), host


def test_nvidias_toolkit_comes_from_its_repository_and_nothing_else_does(
    bed: Bed, told: dict[str, Any], nvidia: Repository, tmp_path: Path
) -> None:
    bed.output(
        "sudo apt-get update -q && sudo apt-get install -qy --no-install-recommends g++", timeout_s=300
    )
    before = bed.output(LOOK).splitlines()
    told = from_nvidia(told, nvidia)
    first = run(bed, tmp_path, told)
    assert first.status == "changed", first
    assert bed.output("dpkg-query -W -f '${Version}' cuda-toolkit-12-9") == "12.9.1-1"
    policy = bed.output("apt-cache policy bash")
    assert "99.0-1 100" in policy, policy
    assert "Candidate: 99.0-1" not in policy
    sources = bed.output(f"grep -rlF {nvidia.uri} /etc/apt/sources.list /etc/apt/sources.list.d")
    assert sources.split() == ["/etc/apt/sources.list.d/dlbox-nvidia.sources"]
    second = run(bed, tmp_path, told)
    assert (second.status, second.changed) == ("ok", ()), second
    assert play(bed, tmp_path, "rollback.yml", told).status == "changed"
    assert not list(difflib.unified_diff(before, bed.output(LOOK).splitlines(), lineterm="", n=0))


def test_a_key_of_another_fingerprint_is_refused_and_removed(
    bed: Bed, told: dict[str, Any], nvidia: Repository, tmp_path: Path
) -> None:
    told = from_nvidia(told, nvidia)
    told["cuda_repository"]["fingerprint"] = "0" * 40
    host = run(bed, tmp_path, told)
    assert host.status == "failed"
    assert nvidia.fingerprint in (host.message or ""), host
    for path in ("keyrings/dlbox-nvidia.asc", "sources.list.d/dlbox-nvidia.sources"):
        assert bed.run(f"test -e /etc/apt/{path}").returncode == 1


def test_a_repository_that_another_signed_gives_nothing(
    bed: Bed, told: dict[str, Any], nvidia: Repository, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with Repository(other) as stranger:
        stranger.add("cuda-toolkit-12-9", "12.9.1-1")
        stranger.sign()
        told = from_nvidia(told, nvidia)
        told["cuda_repository"]["uri"] = stranger.uri
        host = run(bed, tmp_path, told)
    assert host.status == "failed"
    assert bed.run("dpkg -s cuda-toolkit-12-9").returncode != 0
