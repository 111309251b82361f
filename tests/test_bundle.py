"""Bundles: their checks before an installation, mismatches with a box, and their collection."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from provision.artifacts import archive_packages, bundle, collect, environments, own_wheel, python_builds
from provision.artifacts.bundle import Bundle, BundleError
from provision.artifacts.own_wheel import OwnWheel
from provision.commands import provision
from provision.commands.interaction import Interaction
from provision.commands.options import ProvisionOptions
from provision.distributions import distribution_file
from provision.distributions.distribution_file import PackageArchive
from provision.hosts.network import PLAIN, Network
from provision.resolve.stack import Request, Stack, Target, resolve
from tests.test_playbook import RecordingProgress
from tests.test_provision_command import BOX, Messages, ScriptedRuns, host, open_progress

PASCAL = Target(name="GeForce GTX 1060 6GB", architecture="pascal", capability="6.1")
ADA = Target(name="GeForce RTX 4060", architecture="ada", capability="8.9")


def stack(on: str = "debian-12", *cards: Target, **options: Any) -> Stack:
    found = resolve(Request(distribution=on, targets=cards or (PASCAL,), **options))
    assert isinstance(found, Stack)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A complete bundle of tiny files for a GTX 1060 on Debian 12."""
    place = tmp_path / "bundle"
    for name in (
        "debs/Packages",
        "debs/a_1_all.deb",
        "wheels/six.whl",
        "locks/tensorflow.txt",
        "dlbox-1.whl",
    ):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(name)
    bundle.write(place, bundle.contents(stack(), jupyter=False), "dlbox-1.whl", RecordingProgress())
    return place


def read(folder: Path) -> Bundle:
    return bundle.read(folder, RecordingProgress())


def test_an_intact_bundle_is_read(folder: Path) -> None:
    found = read(folder)
    assert found.wheel == OwnWheel(path=folder / "dlbox-1.whl", sha256=bundle.sha256(folder / "dlbox-1.whl"))
    assert found.locks() == {"tensorflow": "locks/tensorflow.txt"}
    assert len(found.manifest.files) == 5
    assert found.digest == read(folder).digest


def test_a_folder_with_a_space_in_its_name_becomes_a_url(folder: Path, tmp_path: Path) -> None:
    moved = folder.rename(tmp_path / "my bundle")
    variables = read(moved).variables(tmp_path / "pip.conf", here=True)
    assert variables["bundle_folder"] == str(moved)
    assert "my%20bundle/wheels\n" in (tmp_path / "pip.conf").read_text()
    assert variables["python_mirror"].endswith("my%20bundle/python")
    sent = read(moved).variables(tmp_path / "pip.conf", here=False)
    assert (sent["bundle_source"], sent["bundle_folder"]) == (str(moved), bundle.FOLDER_ON_BOX)


def _edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads((folder / bundle.MANIFEST).read_text())
    change(document)
    (folder / bundle.MANIFEST).write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda at: (at / "wheels/six.whl").write_text("wheels/sex.whl"), "wheels/six.whl of the bundle"),
        (lambda at: (at / "wheels/six.whl").write_text("w"), "is damaged"),
        (lambda at: (at / "debs/a_1_all.deb").unlink(), "debs/a_1_all.deb of the bundle"),
        (lambda at: (at / "debs/a_1_all.deb").unlink(), "is missing"),
        (lambda at: (at / bundle.MANIFEST).write_text('{"cut'), "MANIFEST.json is damaged"),
        (lambda at: (at / bundle.MANIFEST).write_bytes(b"\xff"), "MANIFEST.json is damaged"),
        (lambda at: _edit(at, lambda d: d.update(schema_version=2)), "by another version of dlbox"),
        (lambda at: _edit(at, lambda d: d["files"].update({"../x": d["files"].popitem()[1]})), "outside of the bundle"),
    ],
)  # fmt: skip
def test_nothing_is_installed_from_a_damaged_bundle(
    folder: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], Any], words: str
) -> None:
    harm(folder)
    script = ScriptedRuns()
    monkeypatch.setattr("provision.ansible.playbook.run", script)
    messages = Messages()
    code = provision.run(
        ProvisionOptions(bundle=folder), Interaction(open_progress, lambda question: True, messages, False)
    )
    assert code == 1
    assert script.jobs == []
    assert words in messages[0]
    assert len(messages) == 1
    assert "\n" not in messages[0]


@pytest.mark.parametrize(
    ("other", "jupyter", "words"),
    [
        (stack("debian-13"), False, "for debian-12, and this box runs debian-13"),
        (stack("debian-12", ADA, further_indexes=False), False, "without the environment"),
        (stack(cuda_toolkit=True), False, "without nvidia-cuda-toolkit"),
        (stack(), True, "--no-jupyter"),
    ],
)
def test_a_bundle_for_another_box_is_refused_with_the_reason(
    folder: Path, other: Stack, jupyter: bool, words: str
) -> None:
    assert words in (read(folder).missing(other, jupyter=jupyter) or "")


def test_a_bundle_for_this_box_misses_nothing(folder: Path) -> None:
    assert read(folder).missing(stack(), jupyter=False) is None
    assert read(folder).missing(stack(frameworks=("tensorflow",)), jupyter=False) is None


def test_the_installation_uses_only_the_bundle(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*rest: object, **options: object) -> None:
        raise AssertionError("this would use the network")

    monkeypatch.setattr("provision.artifacts.lockfiles.lock", never)
    monkeypatch.setattr(own_wheel, "build", never)
    for name in ("torch", "jax", "dlbox", "jupyter"):
        (folder / "locks" / f"{name}.txt").write_text(name)
    bundle.write(folder, bundle.contents(stack(), jupyter=True), "dlbox-1.whl", RecordingProgress())
    script = ScriptedRuns(host(box=BOX), host(status="changed", changed=("a",), verdict="ready"))
    monkeypatch.setattr("provision.ansible.playbook.run", script)
    options = ProvisionOptions(bundle=folder, frameworks=("tensorflow",))
    assert provision.run(options, Interaction(open_progress, lambda question: True, Messages(), False)) == 0
    variables = script.jobs[1].variables["localhost"]
    assert variables["bundle_folder"] == str(folder)
    assert variables["bundle_source"] == ""  # it is on this machine already
    assert variables["dlbox_app_wheel"]["path"] == str(folder / "dlbox-1.whl")
    assert variables["python_mirror"] == f"file://{folder}/python"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cards": ("RTX 3060",), "distro": "debian-12"}, "--bundle DIR"),
        ({"cards": ("RTX 3060",), "bundle": Path("x")}, "need each other"),
        ({"distro": "debian-12", "bundle": Path("x")}, "need each other"),
        ({"cards": ("a",), "distro": "b", "bundle": Path("x"), "hosts": ("c",)}, "leave out --card"),
        ({"bundle": Path("x"), "rollback": True}, "leave out --bundle"),
        ({"bundle": Path("x"), "check": True}, "not collected yet"),
        ({"bundle": Path("x"), "cards": ("RTX 9999",), "distro": "debian-12"}, "RTX 9999"),
    ],
)
def test_conflicting_options_are_usage_errors(options: dict[str, Any], words: str) -> None:
    messages = Messages()
    code = provision.run(
        ProvisionOptions(**options), Interaction(open_progress, lambda question: True, messages, False)
    )
    assert code == 2
    assert words in messages[0]


def test_a_folder_with_other_files_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(BundleError, match=r"thesis\.tex"):
        collect.collect(bundle.BundleRequest(stack=stack()), tmp_path, RecordingProgress())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_manifest_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed download leaves the finished files and no manifest; the next run completes the bundle."""
    monkeypatch.setattr(
        environments, "make_locks", lambda stack, **options: {"tensorflow": "six==1 --hash=sha256:aa\n"}
    )
    monkeypatch.setattr(archive_packages, "fetch", lambda *rest: None)
    calls: list[list[str]] = []

    def download(lines: list[str], *rest: object) -> None:
        calls.append(lines)
        if len(calls) == 1:
            raise BundleError("the cable was pulled")

    monkeypatch.setattr(collect, "_download", download)

    def build(folder: Path) -> OwnWheel:
        assert folder.is_absolute()  # the wheel is built from another folder
        path = folder / "dlbox-1-py3-none-any.whl"
        path.touch()
        return OwnWheel(path=path, sha256="")

    monkeypatch.setattr(own_wheel, "build", build)
    monkeypatch.chdir(tmp_path.parent)
    place = Path(tmp_path.name)  # relative to the working directory
    wanted = bundle.BundleRequest(stack=stack())
    with pytest.raises(BundleError, match="cable"):
        collect.collect(wanted, place, RecordingProgress())
    assert not bundle.is_complete(tmp_path)
    found = collect.collect(wanted, place, RecordingProgress())
    assert bundle.is_complete(tmp_path)
    assert set(found.files) == {"locks/tensorflow.txt", "dlbox-1-py3-none-any.whl"}
    assert calls == [["six==1 --hash=sha256:aa"]] * 2


def test_package_names_are_read_with_and_without_md5_sums() -> None:
    """Output of apt; the second package is from Debian's security archive."""
    printed = (
        "Need to get 24.0 MB of archives.\n"
        "'http://deb.debian.org/debian/pool/main/z/zlib/zlib1g_1%3a1.2.13.dfsg-1_amd64.deb' "
        "zlib1g_1%3a1.2.13.dfsg-1_amd64.deb 86684 MD5Sum:ec42cc09e926444a817ddd913057af67\n"
        "'http://deb.debian.org/debian-security/pool/updates/main/p/python3.11/python3.11-venv_3.11.2-6_amd64.deb' "
        "python3.11-venv_3.11.2-6_amd64.deb 5896 \n"
    )
    assert archive_packages.uris(printed) == {
        "zlib1g_1%3a1.2.13.dfsg-1_amd64.deb",
        "python3.11-venv_3.11.2-6_amd64.deb",
    }


def test_only_missing_wheels_are_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "six.whl").write_text("six")
    (tmp_path / "old.whl").write_text("from an earlier plan")
    digest = bundle.sha256(tmp_path / "six.whl")
    asked: list[str] = []
    monkeypatch.setattr(collect, "_download", lambda lines, *rest: asked.extend(lines))
    text = f"six==1 \\\n    --hash=sha256:{digest} \\\n    --hash=sha256:{'0' * 64}\n"
    text += f"seven==2 --hash=sha256:{'1' * 64}\n"
    collect._fetch_wheels(stack(), {"tensorflow": text, "jax": text}, tmp_path, {}, RecordingProgress())
    assert asked == [f"seven==2 --hash=sha256:{'1' * 64}"]
    assert [path.name for path in tmp_path.iterdir()] == ["six.whl"]


def test_a_damaged_wheel_is_downloaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "six.whl").write_text("six")
    digest = bundle.sha256(tmp_path / "six.whl")
    (tmp_path / "six.whl").write_text("damaged")

    def download(lines: list[str], *rest: object) -> None:
        assert not list(tmp_path.iterdir()), "pip does not replace an existing file"
        (tmp_path / "six.whl").write_text("six")

    monkeypatch.setattr(collect, "_download", download)
    text = f"six==1 --hash=sha256:{digest}\n"
    collect._fetch_wheels(stack(), {"tensorflow": text}, tmp_path, {}, RecordingProgress())
    assert (tmp_path / "six.whl").read_text() == "six"


def archive(on: str) -> PackageArchive:
    return distribution_file.read(distribution_file.FOLDER / f"{on}.yml")[1].archive


@pytest.mark.parametrize("on", [path.stem for path in distribution_file.files(distribution_file.FOLDER)])
def test_apt_sources_are_those_of_the_release(on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_file", lambda path: True)
    text = archive_packages._sources(stack(on, ADA), archive(on), PLAIN, None, None)
    assert f"signed-by=/usr/share/keyrings/{on.partition('-')[0]}-archive-keyring.gpg" in text
    assert "-security" in text
    if on.startswith("debian"):
        assert "non-free" in text
    mirror = Network(apt_mirror="http://m/x/")
    mirrored = archive_packages._sources(stack(on, ADA), archive(on), mirror, None, None)
    assert all(line.split("] ")[1].startswith("http://m/x") for line in mirrored.splitlines())


def test_missing_archive_keys_are_reported_with_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Path, "is_file", lambda path: False)
    with pytest.raises(BundleError, match="apt install ubuntu-keyring"):
        archive_packages._sources(stack("ubuntu-24.04"), archive("ubuntu-24.04"), PLAIN, None, None)


def test_the_python_build_is_the_newest_that_uv_lists() -> None:
    address = python_builds._url("3.12", {})
    assert "/cpython-3.12." in address
    assert address.endswith("x86_64-unknown-linux-gnu-install_only_stripped.tar.gz")
