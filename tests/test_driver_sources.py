"""From where apt would install a driver: the role preflight reads `apt-cache policy`, not a list of addresses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from provision import PROVISION_DIR
from tests.conftest import script

PREFLIGHT = PROVISION_DIR / "roles" / "preflight"
reader = script(PREFLIGHT / "files" / "driver_sources.py")
box = script(PREFLIGHT / "files" / "box.py")
NOBLE = {"ID": "ubuntu", "VERSION_CODENAME": "noble"}
TRIXIE = {"ID": "debian", "VERSION_CODENAME": "trixie"}
UBUNTU = "http://archive.ubuntu.com/ubuntu noble-updates/restricted amd64 Packages"
MIRROR = "http://apt.company.example/mirror noble/restricted amd64 Packages"
CUDA = "https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/x86_64  Packages"
LOCAL = "file:/var/cuda-repo-ubuntu2404-13-0-local  Packages"
PPA = "https://ppa.launchpadcontent.net/graphics-drivers/ppa/ubuntu noble/main amd64 Packages"
POP = "http://apt.pop-os.org/proprietary noble/main amd64 Packages"
LAMBDA = "https://archive.lambda.ai/ubuntu noble/main amd64 Packages"
DEBIAN = "http://deb.debian.org/debian trixie/non-free amd64 Packages"
BACKPORTS = "http://deb.debian.org/debian trixie-backports/non-free amd64 Packages"
SID = "http://deb.debian.org/debian sid/non-free amd64 Packages"
EXPERIMENTAL = "http://deb.debian.org/debian experimental/non-free amd64 Packages"
DEBS = "file:/opt/debs ./ Packages"
RELEASES = {
    UBUNTU: "v=24.04,o=Ubuntu,a=noble-updates,n=noble,l=Ubuntu,c=restricted,b=amd64",
    MIRROR: "v=24.04,o=Ubuntu,a=noble,n=noble,l=Ubuntu,c=restricted,b=amd64",
    CUDA: "o=NVIDIA,l=NVIDIA CUDA,c=",
    LOCAL: "o=NVIDIA,l=NVIDIA CUDA,c=",
    PPA: "v=24.04,o=LP-PPA-graphics-drivers,a=noble,n=noble,l=Proprietary GPU Drivers,c=main,b=amd64",
    POP: "v=24.04,o=pop-os-proprietary,a=noble,n=noble,l=Pop!_OS, proprietary,c=main,b=amd64",
    LAMBDA: "o=Lambda,a=noble,n=noble,l=Lambda,c=main,b=amd64",
    DEBIAN: "v=13.2,o=Debian,a=stable,n=trixie,l=Debian,c=non-free,b=amd64",
    BACKPORTS: "o=Debian Backports,a=stable-backports,n=trixie-backports,l=Debian Backports,c=non-free,b=amd64",
    SID: "o=Debian,a=unstable,n=sid,l=Debian,c=non-free,b=amd64",
    EXPERIMENTAL: "o=Debian,a=experimental,n=rc-buggy,l=Debian,c=non-free,b=amd64",
    DEBS: "c=",
}


def sources(*names: str) -> str:
    """As `apt-cache policy` prints the sources."""
    blocks = [f" 500 {name}\n     release {RELEASES[name]}\n     origin example\n" for name in names]
    return (
        "Package files:\n 100 /var/lib/dpkg/status\n     release a=now\n"
        + "".join(blocks)
        + "Pinned packages:\n"
        "     nvidia-driver-580 -> 580.1 with priority 600\n"
    )


def policy(name: str, *versions: tuple[str, int, str], installed: str = "") -> str:
    """As `apt-cache policy NAME` prints a package; the first version is the candidate."""
    table = ""
    for version, priority, source in versions:
        mark = "***" if version == installed else "   "
        table += f" {mark} {version} {priority}\n        {priority} {source}\n"
        if version == installed:
            table += "        100 /var/lib/dpkg/status\n"
    first = versions[0][0] if versions else "(none)"
    return f"{name}:\n  Installed: {installed or '(none)'}\n  Candidate: {first}\n  Version table:\n{table}"


def judge(package: str, listed: str, identity: dict[str, str], uris: tuple[str, ...] = ()) -> list[str]:
    found = reader.foreign(
        reader.parse_candidates(package), reader.parse_sources(listed), identity, list(uris)
    )
    return [entry["source"] for entry in found]


@pytest.mark.parametrize("place", [UBUNTU, MIRROR])
def test_the_archive_and_its_mirrors_are_the_distributions_own(place: str) -> None:
    assert judge(policy("nvidia-driver-580", ("580.95-0ubuntu1", 500, place)), sources(place), NOBLE) == []


@pytest.mark.parametrize("place", [CUDA, LOCAL, PPA, POP, LAMBDA, DEBS, DEBIAN])
def test_a_source_that_apt_prefers_is_named(place: str) -> None:
    text = policy("nvidia-driver-580", ("580.95-1ubuntu1", 500, place), ("580.95-0ubuntu1", 500, UBUNTU))
    assert judge(text, sources(UBUNTU, place), NOBLE) == [place]


@pytest.mark.parametrize("place", [CUDA, PPA])
def test_a_source_that_apt_does_not_prefer_does_no_harm(place: str) -> None:
    text = policy("nvidia-driver-580", ("580.95-0ubuntu1", 500, UBUNTU), ("595.1", 100, place))
    assert judge(text, sources(UBUNTU, place), NOBLE) == []
    # Only this source has the package, and with a low priority: the source of dlbox has a higher one.
    assert judge(policy("nvidia-open", ("580.95", 100, place)), sources(UBUNTU, place), NOBLE) == []


@pytest.mark.parametrize("place", [SID, EXPERIMENTAL])
def test_sid_and_experimental_count_if_apt_prefers_them(place: str) -> None:
    text = policy("nvidia-driver", ("580.95-1", 990, place), ("550.163-2", 500, DEBIAN))
    assert judge(text, sources(DEBIAN, place), TRIXIE) == [place]
    text = policy("nvidia-driver", ("550.163-2", 500, DEBIAN), ("580.95-1", 1, place))
    assert judge(text, sources(DEBIAN, place), TRIXIE) == []
    assert judge(policy("nvidia-driver", ("550-3", 100, BACKPORTS)), sources(BACKPORTS), TRIXIE) == []


def test_the_source_of_dlbox_is_its_own() -> None:
    text = policy("nvidia-open", ("580.95", 600, CUDA))
    uris = reader.own_uris(
        {
            "/etc/apt/sources.list.d/dlbox-nvidia.sources": f"URIs: {CUDA.split()[0]}/\n",
            "/x/other.list": f"deb {PPA}",
        },
        ["dlbox-nvidia.sources"],
    )
    assert judge(text, sources(CUDA), NOBLE, tuple(uris)) == []
    assert judge(text, sources(CUDA), NOBLE) == [CUDA]
    assert judge(policy("nvidia-open", ("580.95", 600, PPA)), sources(PPA), NOBLE, tuple(uris)) == [PPA]


def test_an_installed_package_and_a_missing_one() -> None:
    text = policy("a", ("1", 500, UBUNTU), installed="1") + policy("b")
    text += (
        "c:\n  Installed: 2\n  Candidate: 2\n  Version table:\n *** 2 100\n        100 /var/lib/dpkg/status\n"
    )
    assert judge(text, sources(UBUNTU), NOBLE) == []
    found = reader.parse_candidates(text)
    assert set(found) == {"a", "c"}
    assert found["a"]["sources"] == [UBUNTU, reader.INSTALLED]


def test_a_phased_version_is_read() -> None:
    text = f"a:\n  Installed: (none)\n  Candidate: 2\n  Version table:\n     2 500 (phased 20%)\n        500 {PPA}\n"
    assert judge(text, sources(PPA), NOBLE) == [PPA]


def test_the_same_source_with_another_release_name_is_another_release() -> None:
    jammy = {"ID": "ubuntu", "VERSION_CODENAME": "jammy"}
    assert judge(policy("a", ("1", 500, UBUNTU)), sources(UBUNTU), jammy) == [UBUNTU]
    assert judge(policy("a", ("1", 500, UBUNTU)), sources(UBUNTU), {}) == [UBUNTU]


LINES = st.lists(
    st.sampled_from([*sources(UBUNTU, PPA, POP).splitlines(), *policy("a", ("1", 500, PPA)).splitlines()])
    | st.text(max_size=40),
    max_size=20,
).map("\n".join)


@settings(max_examples=300, deadline=None)
@given(LINES, LINES)
def test_any_answer_of_apt_is_read(package: str, listed: str) -> None:
    for entry in reader.foreign(reader.parse_candidates(package), reader.parse_sources(listed), NOBLE, []):
        assert entry["package"]
        assert entry["source"] != reader.INSTALLED
        json.dumps(entry)


VERSIONS = st.lists(
    st.tuples(
        st.text(alphabet="0123456789.-~+abc", min_size=1, max_size=12),
        st.integers(-1, 1001),
        st.sampled_from(sorted(RELEASES)),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda each: each[0],
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9+.-]{1,20}", fullmatch=True), VERSIONS, max_size=4))
def test_the_candidate_of_each_package_is_read(packages: dict[str, list[tuple[str, int, str]]]) -> None:
    text = "".join(policy(name, *versions) for name, versions in packages.items())
    found = reader.parse_candidates(text)
    assert {name: (each["version"], each["priority"], each["sources"]) for name, each in found.items()} == {
        name: (versions[0][0], versions[0][1], [versions[0][2]]) for name, versions in packages.items()
    }
    listed = reader.parse_sources(sources(*RELEASES))
    for name, fields in listed.items():
        if name in RELEASES:
            assert fields.get("o", "") in (
                "",
                *(part[2:] for part in RELEASES[name].split(",") if part[:2] == "o="),
            )


def test_the_script_answers_in_english_and_without_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "apt-cache"
    answers = {"sources": sources(UBUNTU, PPA), "packages": policy("nvidia-driver-580", ("580.9", 500, PPA))}
    for name, text in answers.items():
        (tmp_path / name).write_text(text)
    program.write_text(
        f'#!/bin/sh\n[ "$LC_ALL" = C ] || exit 1\n[ $# -gt 1 ] && cat {tmp_path}/packages || cat {tmp_path}/sources\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    command = [
        sys.executable,
        "-I",
        str(PREFLIGHT / "files/driver_sources.py"),
        "--own",
        "x.sources",
        "nvidia-driver-580",
    ]
    done = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert done["known"] is True
    assert done["foreign"][0]["text"].startswith(
        "nvidia-driver-580 580.9 would come from https://ppa.launchpadcontent.net/graphics-drivers/ppa/ubuntu"
    )
    assert done["sources"] == [UBUNTU, PPA]
    (tmp_path / "sources").write_text(sources())
    done = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert done == {"known": False, "foreign": [], "sources": []}


# The addresses, which count where apt has no lists


@pytest.mark.parametrize(
    ("name", "text", "number"),
    [
        ("a.list", "deb [signed-by=/k] https://developer.download.nvidia.com/compute/cuda/repos/x/ /\n", 1),
        ("a.list", "#deb https://developer.download.nvidia.com/compute/x /\n", 0),
        ("a.list", "deb http://deb.debian.org/debian trixie main # not developer.download.nvidia.com/compute\n", 0),
        ("a.list", "deb file:/var/cuda-repo-ubuntu2404-13-0-local /\n", 1),
        ("a.list", "deb file:///var/nvidia-driver-local-repo-ubuntu2404-580.95.05 /\n", 1),
        ("a.sources", "Types: deb\nURIs: http://ppa.launchpad.net/graphics-drivers/ppa\nSuites: noble\n", 1),
        ("a.sources", "Enabled: no\nTypes: deb\nURIs: http://ppa.launchpad.net/graphics-drivers/ppa\n", 0),
        ("a.sources", "Types: deb\nEnabled: No\nURIs: http://apt.pop-os.org/proprietary\n", 0),
        ("a.sources", "# URIs: http://apt.pop-os.org/proprietary\nTypes: deb\nURIs: http://deb.debian.org/debian\n", 0),
        ("a.sources", "Types: deb\nURIs: http://deb.debian.org/debian\n http://apt.pop-os.org/proprietary\n", 1),
        ("a.sources", "URIs: http://a.example/\nEnabled: no\n\nURIs: https://archive.lambda.ai/ubuntu\n", 1),
        ("a.save", "deb http://apt.pop-os.org/proprietary noble main\n", 0),
    ],
)  # fmt: skip
def test_only_enabled_sources_count(tmp_path: Path, name: str, text: str, number: int) -> None:
    folder = tmp_path / "etc/apt/sources.list.d"
    folder.mkdir(parents=True)
    (folder / name).write_text(text)
    found = box.repositories(tmp_path)
    assert len(found) == number
    assert all(entry["file"] == f"/etc/apt/sources.list.d/{name}" for entry in found)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="URIsEnabled: no\n\tdeb#/.x", max_size=200), st.sampled_from([".list", ".sources"]))
def test_any_source_file_is_read(text: str, suffix: str) -> None:
    assert all(isinstance(each, str) for each in box.enabled(text, suffix))


def test_the_role_asks_about_the_packages_of_every_release() -> None:
    tasks = yaml.safe_load((PREFLIGHT / "tasks/main.yml").read_text())
    task = next(task for task in tasks if task["name"] == "The sources of the driver's packages are read")
    assert "distribution_release.drivers" in task["vars"]["__preflight_rows"]
    for path in (PROVISION_DIR / "distributions").glob("*.yml"):
        rows = yaml.safe_load(path.read_text())["drivers"]
        assert all("packages" in row for row in rows), path.name
