"""The resolver: each trap of the field is a rule, and each rule has its test here."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path

import msgspec
import pytest
from packaging.requirements import Requirement

from common.versions import allows
from inventory.cards import cards
from provision.distributions import distribution_file
from provision.resolve.compatibility import page
from provision.resolve.load import DEFAULT_PATH, load, parse
from provision.resolve.rows import StackData
from provision.resolve.stack import NoStack, Request, Stack, Target, resolve

DATA = load()
TODAY = datetime.date(2026, 11, 22)
DISTRIBUTIONS = [row.id for row in DATA.distributions]
BEFORE_TURING = ["GTX 750 Ti", "GTX 970", "GTX 1060", "GTX 1080 Ti", "TITAN V"]
FROM_TURING = ["GTX 1650", "RTX 2080 Ti", "RTX 3060", "RTX 4090"]


def target(name: str) -> Target:
    card = cards.find(name)
    return Target(name=card.name, architecture=card.architecture, capability=card.compute_capability)


def outcome(*names: str, on: str = "ubuntu-24.04", data: StackData = DATA, **more: object) -> Stack | NoStack:
    request = Request(distribution=on, targets=tuple(target(n) for n in names))
    return resolve(msgspec.structs.replace(request, **more), data, TODAY)


def stack(*names: str, on: str = "ubuntu-24.04", data: StackData = DATA, **more: object) -> Stack:
    found = outcome(*names, on=on, data=data, **more)
    assert isinstance(found, Stack), found
    return found


def no_stack(*names: str, on: str = "ubuntu-24.04", data: StackData = DATA, **more: object) -> NoStack:
    found = outcome(*names, on=on, data=data, **more)
    assert isinstance(found, NoStack), found
    return found


def why(found: Stack, topic: str) -> str:
    return " ".join(reason.why for reason in found.reasons if reason.topic == topic)


def changed(old: str, new: str) -> StackData:
    text = DEFAULT_PATH.read_text(encoding="utf-8")
    assert old in text
    return parse(text.replace(old, new))


# Drivers


@pytest.mark.parametrize("on", DISTRIBUTIONS)
@pytest.mark.parametrize("card", BEFORE_TURING)
def test_before_turing_closed_modules_and_580_at_most(card: str, on: str) -> None:
    driver = stack(card, on=on).driver
    assert driver is not None
    assert driver.flavour == "closed"
    assert driver.branch <= 580
    assert not any("open" in package for package in driver.packages)


@pytest.mark.parametrize("on", DISTRIBUTIONS)
@pytest.mark.parametrize("card", ["RTX 5060", "RTX 5090"])
def test_blackwell_open_modules_and_570_at_least(card: str, on: str) -> None:
    driver = stack(card, on=on).driver
    assert driver is not None
    assert driver.flavour == "open"
    assert driver.branch >= 570
    assert any("open" in package for package in driver.packages)


@pytest.mark.parametrize("card", FROM_TURING)
def test_turing_to_ada_take_ubuntus_signed_open_modules(card: str) -> None:
    driver = stack(card, secure_boot=True).driver
    assert driver is not None
    assert (driver.branch, driver.flavour, driver.source) == (580, "open", "prebuilt")
    assert driver.needs_mok is False


@pytest.mark.parametrize(("on", "branch"), [("debian-12", 535), ("debian-13", 550)])
@pytest.mark.parametrize("card", ["GTX 1060", "RTX 3060", "RTX 4090"])
def test_debians_own_driver_serves_maxwell_to_ada_with_cuda_12_only(card: str, on: str, branch: int) -> None:
    found = stack(card, on=on)
    assert found.driver is not None
    assert found.cuda is not None
    assert (found.driver.branch, found.driver.source, found.driver.flavour) == (
        branch,
        "distribution",
        "closed",
    )
    assert all(version.startswith("12.") for version in found.cuda.versions.values())


@pytest.mark.parametrize("on", ["debian-12", "debian-13"])
def test_debians_own_driver_is_too_old_for_rtx_50(on: str) -> None:
    driver = stack("RTX 5060", on=on).driver
    assert driver is not None
    assert driver.source == "nvidia-repository"
    assert driver.repository is not None
    assert on.replace("-", "") in driver.repository.uri
    assert driver.packages[0] == f"nvidia-driver-pinning-{driver.branch}", (
        "the pin is installed before the driver"
    )


@pytest.mark.parametrize("on", DISTRIBUTIONS)
@pytest.mark.parametrize("card", [*BEFORE_TURING, *FROM_TURING, "RTX 5060"])
def test_no_package_name_is_empty_transitional_or_of_the_server_family(card: str, on: str) -> None:
    driver = stack(card, on=on).driver
    assert driver is not None
    for package in driver.packages:
        assert DATA.forbidden_by(package, on) is None
        assert "{" not in package


@pytest.mark.parametrize(
    ("package", "on", "forbidden"),
    [
        ("cuda-drivers", "ubuntu-24.04", True),
        ("cuda-drivers-580", "ubuntu-24.04", False),
        ("nvidia-driver-615", "ubuntu-24.04", True),
        ("nvidia-driver-590", "ubuntu-24.04", True),
        ("nvidia-driver-590-open", "ubuntu-24.04", True),
        ("nvidia-driver-570", "ubuntu-26.04", True),
        ("nvidia-driver-570", "ubuntu-24.04", False),
        ("nvidia-driver-535", "ubuntu-26.04", True),
        ("nvidia-driver-580", "ubuntu-26.04", False),
        ("linux-modules-nvidia-580-server-generic", "ubuntu-24.04", True),
        ("pynvml", "debian-12", True),
        ("nvidia-ml-py", "debian-12", False),
    ],
)
def test_traps_among_the_package_names(package: str, on: str, forbidden: bool) -> None:
    assert (DATA.forbidden_by(package, on) is not None) is forbidden


@pytest.mark.parametrize(
    ("on", "kernel", "package"),
    [
        ("ubuntu-22.04", "5.15.0-160-generic", "linux-modules-nvidia-580-open-generic"),
        ("ubuntu-22.04", "6.8.0-87-generic", "linux-modules-nvidia-580-open-generic-hwe-22.04"),
        ("ubuntu-24.04", "6.8.0-151-generic", "linux-modules-nvidia-580-open-generic"),
        ("ubuntu-24.04", "7.0.0-43-generic", "linux-modules-nvidia-580-open-generic-hwe-24.04"),
        ("ubuntu-24.04", "", "linux-modules-nvidia-580-open-generic-hwe-24.04"),
        ("ubuntu-26.04", "7.0.0-44-generic", "linux-modules-nvidia-580-open-generic"),
    ],
)
def test_prebuilt_modules_follow_the_running_kernel(on: str, kernel: str, package: str) -> None:
    driver = stack("RTX 3060", on=on, kernel=kernel).driver
    assert driver is not None
    assert driver.packages == (package, "nvidia-driver-580-open")


@pytest.mark.parametrize(
    "kernel", ["7.1.3-1-liquorix-amd64", "6.8.0-1010-oem", "6.17.0", "6.8.0-60-lowlatency"]
)
def test_another_kernel_gets_headers_and_dkms(kernel: str) -> None:
    driver = stack("RTX 3060", kernel=kernel).driver
    assert driver is not None
    assert driver.source == "dkms"
    assert driver.packages == (f"linux-headers-{kernel}", "nvidia-dkms-580-open", "nvidia-driver-580-open")
    assert driver.needs_mok is None
    closed = stack("GTX 1060", kernel=kernel).driver
    assert closed is not None
    assert "nvidia-dkms-580" in closed.packages


@pytest.mark.parametrize(
    ("kernel", "package"),
    [
        ("6.1.0-40-amd64", "linux-headers-amd64"),
        ("6.1.0-40-cloud-amd64", "linux-headers-cloud-amd64"),
        ("6.1.0-40-rt-amd64", "linux-headers-rt-amd64"),
        ("6.12.0-rt-amd64", "linux-headers-6.12.0-rt-amd64"),
        ("6.12.9+bpo-amd64", "linux-headers-6.12.9+bpo-amd64"),
        ("", "linux-headers-amd64"),
        ("6.16.1-mine", "linux-headers-6.16.1-mine"),
    ],
)
def test_debian_headers_follow_the_kernel(kernel: str, package: str) -> None:
    driver = stack("RTX 3060", on="debian-12", kernel=kernel).driver
    assert driver is not None
    assert package in driver.packages


def test_secure_boot_with_modules_compiled_here_warns_of_the_key() -> None:
    on, off, unknown = (stack("RTX 3060", on="debian-13", secure_boot=s) for s in (True, False, None))
    assert [s.driver.needs_mok for s in (on, off, unknown) if s.driver] == [True, False, None]
    assert any("enrolled" in warning for warning in on.warnings)
    assert not any("enrolled" in warning for warning in off.warnings)
    assert any("not known" in warning for warning in unknown.warnings)


def test_the_repository_is_the_running_releases_own() -> None:
    for on in ("debian-12", "debian-13"):
        driver = stack("RTX 5060", on=on).driver
        assert driver is not None
        assert driver.repository is not None
        row = DATA.distribution(on)
        assert row is not None
        assert row.repository is not None
        assert driver.repository.fingerprint == row.repository.fingerprint


def test_a_sha1_key_is_refused_where_apt_refuses_it(tmp_path: Path) -> None:
    """The repository key of an older release on a newer system."""
    folder = tmp_path / "distributions"
    shutil.copytree(distribution_file.FOLDER, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    path = folder / "debian-13.yml"
    text = path.read_text(encoding="utf-8")
    assert "sha1_signature: false" in text
    path.write_text(text.replace("sha1_signature: false", "sha1_signature: true"), encoding="utf-8")
    data = load(distributions=folder)
    found = no_stack("RTX 5060", on="debian-13", data=data)
    assert "SHA-1" in found.error
    assert isinstance(outcome("RTX 5060", on="debian-12", data=data), Stack), "Debian 12's apt still takes it"


@pytest.mark.parametrize("on", DISTRIBUTIONS)
@pytest.mark.parametrize("old", ["GTX 970", "GTX 1060", "TITAN V"])
def test_no_driver_serves_a_card_before_turing_beside_a_blackwell(old: str, on: str) -> None:
    found = no_stack(old, "RTX 5060", on=on)
    assert "one kernel loads one NVIDIA driver" in found.error
    assert found.nearest is not None
    assert len(found.nearest.cards) == 1


@pytest.mark.parametrize(
    ("names", "flavour", "torch"),
    [
        (("GTX 1060", "RTX 3060"), "closed", "2.13.0+cu126"),
        (("TITAN V", "RTX 4090"), "closed", "2.13.0+cu126"),
        (("RTX 3060", "RTX 3060"), "open", "2.13.0"),
        (("RTX 2080 Ti", "RTX 5060"), "open", "2.13.0"),
    ],
)
def test_several_cards_share_the_driver_and_the_wheels(
    names: tuple[str, ...], flavour: str, torch: str
) -> None:
    found = stack(*names)
    assert found.driver is not None
    assert found.driver.flavour == flavour
    assert found.environments["torch"]["torch"] == torch


def test_two_maxwell_cards_do_not_train_together_with_jax() -> None:
    assert any(
        warning.startswith("jax cannot train one model") for warning in stack("GTX 970", "GTX 970").warnings
    )
    assert not any("together" in warning for warning in stack("GTX 970").warnings)
    assert not any("together" in warning for warning in stack("GTX 1060", "GTX 1060").warnings)


# Wheels


@pytest.mark.parametrize("on", DISTRIBUTIONS)
@pytest.mark.parametrize("card", BEFORE_TURING)
def test_cudnn_below_9_11_before_turing(card: str, on: str) -> None:
    found = stack(card, on=on)
    assert "nvidia-cudnn-cu12<9.11" in found.constraints
    for packages in found.environments.values():
        assert allows("<9.11", packages["nvidia-cudnn-cu12"])
        assert "nvidia-cudnn-cu13" not in packages
    assert "9.11" in why(found, "cudnn")


@pytest.mark.parametrize("card", FROM_TURING)
def test_cudnn_is_not_held_back_from_turing_on(card: str) -> None:
    assert not any("cudnn" in text for text in stack(card).constraints)


@pytest.mark.parametrize("on", DISTRIBUTIONS)
@pytest.mark.parametrize("card", ["RTX 5060", "RTX 5090"])
def test_no_tensorflow_for_rtx_50_and_another_default_backend(card: str, on: str) -> None:
    found = stack(card, on=on)
    assert set(found.environments) == {"torch", "jax"}
    assert found.backend == "torch"
    assert "no code for RTX 50" in found.missing["tensorflow"]
    assert "no code for RTX 50" in why(found, "backend")


def test_tensorflow_asked_for_on_rtx_50_is_no_stack() -> None:
    found = no_stack("RTX 5060", frameworks=("tensorflow",))
    assert "no code for RTX 50" in found.error
    assert found.nearest is not None
    assert found.nearest.frameworks == ("torch", "jax")
    assert "tensorflow" in no_stack("RTX 5060", frameworks=("torch", "tensorflow")).error.lower()


@pytest.mark.parametrize("card", ["GTX 750 Ti", "GTX 970"])
def test_no_tensorflow_for_maxwell_since_2_17(card: str) -> None:
    found = stack(card)
    assert "tensorflow" not in found.environments
    assert found.backend == "torch"
    assert "2.17" in found.missing["tensorflow"]


def test_jax_is_not_offered_below_the_capability_that_it_supports() -> None:
    assert "5.2" in stack("GTX 750 Ti").missing["jax"]
    assert "jax" in stack("GTX 970").environments


@pytest.mark.parametrize(
    ("card", "on", "version"),
    [
        ("GTX 970", "ubuntu-24.04", "2.7.1"),
        ("GTX 1060", "ubuntu-26.04", "2.7.1"),
        ("TITAN V", "ubuntu-24.04", "2.10.0"),
        ("RTX 3060", "ubuntu-24.04", "2.13.0"),
        ("RTX 3060", "debian-12", "2.10.0"),
        ("RTX 5060", "debian-12", "2.13.0"),
    ],
)
def test_torch_from_pypi_by_architecture_and_driver(card: str, on: str, version: str) -> None:
    found = stack(card, on=on, further_indexes=False)
    assert found.environments["torch"]["torch"] == version
    assert not found.indexes


@pytest.mark.parametrize(
    ("card", "on", "version"),
    [
        ("GTX 970", "ubuntu-24.04", "2.13.0+cu126"),
        ("GTX 1060", "ubuntu-26.04", "2.13.0+cu126"),
        ("TITAN V", "ubuntu-24.04", "2.13.0+cu126"),
        ("RTX 3060", "ubuntu-24.04", "2.13.0"),
        ("RTX 3060", "debian-12", "2.13.0+cu126"),
        ("RTX 4090", "debian-13", "2.13.0+cu126"),
        ("RTX 5060", "debian-12", "2.13.0"),
    ],
)
def test_torch_from_pytorchs_index_by_architecture_and_driver(card: str, on: str, version: str) -> None:
    found = stack(card, on=on)
    assert found.environments["torch"]["torch"] == version
    assert f"torch=={version}" in found.requirements["torch"]
    assert f"torch=={version}" in found.constraints
    indexed = {"torch": "https://download.pytorch.org/whl/cu126"}
    assert found.indexes == (indexed if "+" in version else {})


def test_the_processor_builds_of_torch_with_and_without_further_indexes() -> None:
    assert "torch" in stack(on="ubuntu-24.04").indexes
    assert not stack(on="ubuntu-24.04", further_indexes=False).indexes


@pytest.mark.parametrize(
    ("on", "version", "source"),
    [
        ("ubuntu-22.04", "3.12", "uv"),
        ("ubuntu-24.04", "3.12", "distribution"),
        ("ubuntu-26.04", "3.12", "uv"),
        ("debian-12", "3.11", "distribution"),
        ("debian-13", "3.13", "distribution"),
    ],
)
def test_the_distributions_python_or_how_to_get_one(on: str, version: str, source: str) -> None:
    python = stack("RTX 3060", on=on).python
    assert (python.version, python.source) == (version, source)
    assert (python.install == f"uv python install {version}") is (source == "uv")


def test_python_3_14_has_no_stable_tensorflow_and_3_10_no_keras() -> None:
    assert "no stable tensorflow wheel exists for Python 3.14" in why(
        stack("RTX 3060", on="ubuntu-26.04"), "python"
    )
    assert "Keras 3.15.1 needs Python 3.11" in why(stack("RTX 3060", on="ubuntu-22.04"), "python")


@pytest.mark.parametrize("on", DISTRIBUTIONS)
@pytest.mark.parametrize("card", [*BEFORE_TURING, *FROM_TURING, "RTX 5060"])
def test_keras_3_15_at_least(card: str, on: str) -> None:
    found = stack(card, on=on)
    assert "keras>=3.15" in found.constraints
    assert all(allows(">=3.15", packages["keras"]) for packages in found.environments.values())


def test_frameworks_that_cannot_share_get_one_environment_each() -> None:
    found = stack("GTX 1060", further_indexes=False)
    assert set(found.environments) == {"tensorflow", "torch", "jax"}
    assert "nvidia-nccl-cu12" in why(found, "environments")
    for name, packages in found.environments.items():
        assert [p for p in ("tensorflow", "torch", "jax") if p in packages] == [name]


def test_tensorflow_brings_its_cuda_and_the_cpu_build_does_not() -> None:
    assert "tensorflow[and-cuda]==2.21.0" in stack("RTX 3060").requirements["tensorflow"]
    assert "tensorflow-cpu==2.21.0" in stack().requirements["tensorflow"]


@pytest.mark.parametrize("on", DISTRIBUTIONS)
def test_a_machine_without_a_card_gets_the_cpu_builds(on: str) -> None:
    found = stack(on=on)
    assert found.driver is None
    assert found.cuda is None
    assert found.cudnn is None
    assert found.backend == "tensorflow"
    assert not any("nvidia" in name for packages in found.environments.values() for name in packages)
    assert "cpu" in found.indexes["torch"]


def test_only_what_was_asked_for() -> None:
    found = stack("RTX 3060", frameworks=("jax", "torch"))
    assert set(found.environments) == {"torch", "jax"}
    assert found.backend == "torch"


# CUDA toolkit


def test_no_toolkit_unless_asked_for() -> None:
    found = stack("RTX 3060")
    assert found.cuda is not None
    assert found.cuda.toolkit is None
    assert found.cuda.toolkit_packages == ()


@pytest.mark.parametrize(
    ("card", "on", "packages", "repository"),
    [
        ("RTX 3060", "debian-12", ("nvidia-cuda-toolkit",), False),
        ("RTX 3060", "ubuntu-22.04", ("nvidia-cuda-toolkit",), False),
        ("RTX 4090", "ubuntu-22.04", ("cuda-toolkit-12-9",), True),
        ("RTX 4090", "debian-12", ("nvidia-cuda-toolkit",), False),
        ("RTX 5060", "ubuntu-24.04", ("cuda-toolkit-12-9",), True),
        ("RTX 5060", "ubuntu-26.04", ("cuda-toolkit",), False),
        ("RTX 5060", "debian-13", ("cuda-toolkit-13-2",), True),
        ("GTX 1060", "ubuntu-26.04", ("nvidia-cuda-toolkit",), False),
    ],
)
def test_a_toolkit_that_compiles_for_the_card(
    card: str, on: str, packages: tuple[str, ...], repository: bool
) -> None:
    cuda = stack(card, on=on, cuda_toolkit=True).cuda
    assert cuda is not None
    assert cuda.toolkit_packages == packages
    assert (cuda.toolkit_repository is not None) is repository


# Words


@pytest.mark.parametrize("on", DISTRIBUTIONS)
@pytest.mark.parametrize("card", [*BEFORE_TURING, *FROM_TURING, "RTX 5060"])
def test_everything_has_a_reason_and_a_source(card: str, on: str) -> None:
    found = stack(card, on=on)
    topics = {reason.topic for reason in found.reasons}
    assert {
        "driver branch",
        "kernel modules",
        "driver source",
        "cuda",
        "cudnn",
        "python",
        "keras",
        "backend",
    } <= topics
    assert {f"environment {name}" for name in ("tensorflow", "torch", "jax")} <= topics
    for reason in found.reasons:
        assert reason.why.endswith(".")
        assert ".." not in reason.why
        assert reason.source


@pytest.mark.parametrize(
    ("today", "words"),
    [
        ("2028-03-31", None),
        ("2028-04-01", "ends on 2028-06-30, in 90 days."),
        ("2028-06-30", "ends on 2028-06-30, in 0 days."),
        ("2028-07-01", "ended on 2028-06-30"),
    ],
)
def test_the_end_of_a_branch_is_announced_90_days_before(today: str, words: str | None) -> None:
    request = Request(distribution="ubuntu-24.04", targets=(target("RTX 3060"),))
    found = resolve(request, DATA, datetime.date.fromisoformat(today))
    assert isinstance(found, Stack)
    said = [warning for warning in found.warnings if "branch 580" in warning]
    assert len(said) == (words is not None)
    assert words is None or words in said[0]


@pytest.mark.parametrize("card", ["GTX 970", "GTX 1060", "RTX 3060"])
def test_debian_12s_branch_has_ended_and_where_a_longer_one_is(card: str) -> None:
    (said,) = [text for text in stack(card, on="debian-12").warnings if "branch 535" in text]
    assert "ended on 2026-06-30" in said
    assert said.endswith("Ubuntu 24.04 has branch 580, supported until 2028-06-30.")
    assert "The end of support of this branch is not known." in why(
        stack(card, on="debian-13"), "driver branch"
    )


def test_old_data_says_so() -> None:
    request = Request(distribution="ubuntu-24.04", targets=(target("RTX 3060"),))
    later = resolve(request, DATA, DATA.date + datetime.timedelta(days=181))
    assert isinstance(later, Stack)
    assert any("--stack FILE" in warning for warning in later.warnings)


def test_a_container_says_where_the_driver_belongs() -> None:
    assert any("the host" in warning for warning in stack("RTX 3060", environment="container").warnings)
    assert any("Windows" in warning for warning in stack("RTX 3060", environment="wsl2").warnings)


# No stack


def test_kepler_and_the_unheard_of_have_none() -> None:
    request = Request(distribution="debian-12", targets=(Target(name="10de:1180", architecture=None),))
    found = resolve(request, DATA, TODAY)
    assert isinstance(found, NoStack)
    assert "10de:1180" in found.error
    assert found.nearest is not None
    assert found.nearest.cards == ()


def test_another_processor_or_distribution_has_none() -> None:
    assert "aarch64" in no_stack("RTX 3060", machine_type="aarch64").error
    found = no_stack("RTX 3060", on="fedora-44")
    assert "fedora-44" in found.error
    assert found.nearest is not None
    assert found.nearest.cards == ("GeForce RTX 3060 12GB",)


def test_a_card_known_by_its_family_only_takes_the_familys_lowest() -> None:
    request = Request(
        distribution="ubuntu-24.04", targets=(Target(name="10de:2bff", architecture="blackwell"),)
    )
    found = resolve(request, DATA, TODAY)
    assert isinstance(found, Stack)
    assert found.backend == "torch"
    assert any("not in the catalogue" in warning for warning in found.warnings)


def test_a_newer_file_changes_the_answer() -> None:
    """A row more is all it takes when TensorFlow learns RTX 50."""
    data = changed(
        'code: ["6.0", "7.0", "8.0", "8.9", "9.0"]', 'code: ["6.0", "7.0", "8.0", "8.9", "9.0", "12.0"]'
    )
    assert stack("RTX 5060", data=data).backend == "tensorflow"


# Everything together


def test_the_golden_page_is_what_the_code_says() -> None:
    kept = (DEFAULT_PATH.parents[2] / "docs" / "reference" / "compatibility.md").read_text(encoding="utf-8")
    assert page(DATA) == kept, "python -m provision.resolve.compatibility > docs/reference/compatibility.md"
    assert kept.count("\n| ") == len(DISTRIBUTIONS) * (len(cards.catalogue()) + 1)
    assert "none:" not in kept


def test_constraints_name_only_what_they_hold() -> None:
    for text in stack("GTX 1060").constraints:
        assert Requirement(text).specifier, text


# Reasons


@pytest.mark.parametrize("name", ["RTX 5060", "GTX 970", "GTX 750 Ti", "TITAN V", "RTX 3060"])
def test_the_reason_for_a_missing_framework_carries_the_source_of_its_own_row(name: str) -> None:
    """Also where several rows have the same sentence."""
    gaps = tuple(
        msgspec.structs.replace(row, why="One sentence for every gap.", source=f"gap {number}")
        for number, row in enumerate(DATA.gaps)
    )
    found = stack(name, data=msgspec.structs.replace(DATA, gaps=gaps))
    architecture = target(name).architecture
    for framework in found.missing:
        (reason,) = [each for each in found.reasons if each.topic == f"environment {framework}"]
        expected = [
            row.source for row in gaps if row.framework == framework and architecture in row.architectures
        ]
        if expected:
            assert reason.source == expected[0]
        else:
            assert not reason.source.startswith("gap")
