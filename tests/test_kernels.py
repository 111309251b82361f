"""Kernels by their names, the table of kernels and drivers, and the driver that a plan selects for a kernel."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.versions import release
from inventory.cards import cards
from inventory.cards.architectures import Flavour
from provision import PROVISION_DIR
from provision.distributions.distribution_file import DistributionRow
from provision.distributions.row_checks import StackFileError
from provision.kernels import module_builds
from provision.kernels.release_names import headers_package, kind_of, own_flavour, series
from provision.resolve.load import load
from provision.resolve.stack import NoStack, Request, Stack, Target, resolve
from tests.test_stack import no_stack, stack

DATA = load()


def distribution(name: str) -> DistributionRow:
    row = DATA.distribution(name)
    assert row is not None
    return row


@pytest.mark.parametrize(
    ("on", "kernel", "flavour"),
    [
        ("ubuntu-24.04", "6.8.0-151-generic", "generic"),
        ("ubuntu-24.04", "6.17.0-14-generic", "generic-hwe-24.04"),
        ("ubuntu-22.04", "5.15.0-160-generic", "generic"),
        ("debian-12", "6.1.0-40-amd64", "amd64"),
        ("debian-12", "6.12.117+deb12-amd64", "6.12-amd64"),
        ("debian-12", "6.12.117+deb12-cloud-amd64", "6.12-cloud-amd64"),
        ("debian-13", "6.12.48+deb13-amd64", "amd64"),
        ("debian-13", "6.12.74+deb13+1-cloud-amd64", "cloud-amd64"),
        ("debian-13", "6.12.48+deb13-rt-amd64", "rt-amd64"),
        ("debian-13", "", "amd64"),
    ],
)
def test_the_distributions_own_kernels(on: str, kernel: str, flavour: str) -> None:
    assert own_flavour(distribution(on), kernel) == flavour
    assert kind_of(distribution(on), kernel) is None
    assert headers_package(distribution(on), kernel) == f"linux-headers-{flavour}"


FOREIGN = [
    ("ubuntu-24.04", "6.13.7-061307-generic", "ubuntu-mainline", "linux-headers-"),
    ("debian-12", "6.14.11-4-bpo12-pve", "proxmox", "proxmox-headers-"),
    ("ubuntu-24.04", "6.13.0-061300-generic", "ubuntu-mainline", "linux-headers-"),
    ("ubuntu-24.04", "6.14.0-061400rc7-generic", "ubuntu-mainline", "linux-headers-"),
    ("ubuntu-24.04", "6.12.10-76061203-generic", "pop", "linux-headers-"),
    ("ubuntu-24.04", "6.17.9-76061709-generic", "pop", "linux-headers-"),
    ("ubuntu-24.04", "6.8.0-1010-oem", "ubuntu-flavour", "linux-headers-"),
    ("ubuntu-24.04", "6.8.0-1021-aws", "ubuntu-flavour", "linux-headers-"),
    ("ubuntu-24.04", "6.11.0-1015-azure", "ubuntu-flavour", "linux-headers-"),
    ("ubuntu-24.04", "6.8.0-60-lowlatency", "ubuntu-flavour", "linux-headers-"),
    ("ubuntu-24.04", "6.8.1-1015-realtime", "ubuntu-flavour", "linux-headers-"),
    ("ubuntu-24.04", "5.15.0-100-generic", "ubuntu-other-release", "linux-headers-"),
    ("ubuntu-26.04", "6.17.0-14-generic", "ubuntu-other-release", "linux-headers-"),
    ("ubuntu-24.04", "6.12.10-x64v3-xanmod1", "xanmod", "linux-headers-"),
    ("debian-13", "7.1.3-1-liquorix-amd64", "liquorix", "linux-headers-"),
    ("debian-13", "6.13.2-zabbly+", "zabbly", "linux-headers-"),
    ("debian-13", "6.17.1-surface-2", "surface", "linux-headers-"),
    ("ubuntu-24.04", "6.11.0-107018-tuxedo", "tuxedo", "linux-headers-"),
    ("ubuntu-24.04", "5.15.167.4-microsoft-standard-WSL2", "wsl2", "linux-headers-"),
    ("debian-13", "6.17.13-2-pve", "proxmox", "proxmox-headers-"),
    ("debian-12", "6.5.13-5-pve", "proxmox", "proxmox-headers-"),
    ("debian-12", "6.2.16-20-pve", "proxmox", "pve-headers-"),
    ("debian-13", "7.0.4+deb13-amd64", "debian-backports", "linux-headers-"),
    ("debian-12", "6.12.9+bpo-amd64", "debian-backports", "linux-headers-"),
    ("debian-13", "6.12.9+bpo-amd64", "debian-backports", "linux-headers-"),
    ("debian-13", "6.1.0-40-amd64", "debian-other-release", "linux-headers-"),
    ("debian-12", "6.12.48+deb13-amd64", "debian-backports", "linux-headers-"),
    ("debian-12", "6.12.22-amd64", "debian-other-release", "linux-headers-"),
    ("debian-13", "6.12.22-amd64", "debian-other-release", "linux-headers-"),
    ("debian-13", "6.12.0-mine", "custom", "linux-headers-"),
    ("debian-13", "6.13.0-tkg-eevdf", "custom", "linux-headers-"),
    ("ubuntu-24.04", "6.8.0-0151-generic", "custom", "linux-headers-"),
    ("ubuntu-24.04", "6.8.0", "custom", "linux-headers-"),
]


@pytest.mark.parametrize(("on", "kernel", "kind", "prefix"), FOREIGN)
def test_kernels_of_others(on: str, kernel: str, kind: str, prefix: str) -> None:
    found = kind_of(distribution(on), kernel)
    assert found is not None
    assert found.id == kind
    assert own_flavour(distribution(on), kernel) is None
    assert headers_package(distribution(on), kernel) == prefix + kernel


@given(st.sampled_from(DATA.distributions), st.text(max_size=80))
def test_any_text_has_a_kind_and_a_headers_package(row: DistributionRow, text: str) -> None:
    assert (own_flavour(row, text) is None) is (kind_of(row, text) is not None)
    assert headers_package(row, text)


# The plans


@pytest.mark.parametrize(
    ("on", "kernel", "real_time"),
    [
        ("ubuntu-24.04", "6.8.1-1030-realtime", True), ("debian-13", "6.12.57+deb13-rt-amd64", True),
        ("debian-13", "6.12.57+deb13-amd64", False), ("ubuntu-24.04", "6.8.0-79-generic", False),
    ],
)  # fmt: skip
def test_a_real_time_kernel_gives_a_warning(on: str, kernel: str, real_time: bool) -> None:
    found = stack("RTX 3060", on=on, kernel=kernel)
    assert any("PREEMPT_RT" in warning for warning in found.warnings) is real_time


def test_a_mainline_kernel_gets_modules_compiled_on_the_box() -> None:
    found = stack("RTX 3060", on="ubuntu-24.04", kernel="6.13.7-061307-generic")
    assert found.driver is not None
    assert found.driver.source == "dkms"
    assert found.driver.packages[0] == "linux-headers-6.13.7-061307-generic"
    assert any("mainline" in warning and "headers" in warning for warning in found.warnings)


def test_proxmox_with_a_new_kernel_gets_a_newer_driver_and_its_own_headers() -> None:
    found = stack("RTX 3060", on="debian-13", kernel="6.17.13-2-pve")
    assert found.driver is not None
    assert (found.driver.source, found.driver.branch) == ("nvidia-repository", 595)
    assert "proxmox-headers-6.17.13-2-pve" in found.driver.packages
    assert not any(name.startswith("linux-headers") for name in found.driver.packages)


def test_pascal_on_proxmox_without_a_driver_that_compiles_names_the_kernel_that_works() -> None:
    found = no_stack("GTX 1080 Ti", on="debian-13", kernel="6.17.13-2-pve")
    assert "do not compile for kernel 6.17" in found.error
    assert "580" in found.error
    assert found.nearest is not None
    assert "own kernel (6.12)" in found.nearest.description


def test_pascal_on_debian_12_gets_the_closed_580_of_nvidias_repository_for_a_new_kernel() -> None:
    driver = stack("GTX 1080 Ti", on="debian-12", kernel="6.17.13-2-pve").driver
    assert driver is not None
    assert (driver.branch, driver.flavour, driver.source) == (580, "closed", "nvidia-repository")
    assert "cuda-drivers-580" in driver.packages
    assert "cuda-drivers" not in driver.packages


def test_a_backports_kernel_gets_a_driver_that_compiles_for_it() -> None:
    driver = stack("RTX 3060", on="debian-13", kernel="7.0.4+deb13-amd64").driver
    assert driver is not None
    assert release(driver.version) >= release("580.142")
    assert "linux-headers-7.0.4+deb13-amd64" in driver.packages


def test_the_distributions_own_driver_stays_first_where_it_compiles() -> None:
    for kernel in ("", "6.12.48+deb13-amd64"):
        driver = stack("RTX 3060", on="debian-13", kernel=kernel).driver
        assert driver is not None
        assert driver.source == "distribution"


def test_a_kernel_newer_than_every_row_is_planned_with_a_warning() -> None:
    found = stack("RTX 3060", on="ubuntu-24.04", kernel="7.9.1-mine")
    assert found.driver is not None
    assert found.driver.branch == 595, "the newest version has the best chance"
    assert any("not known whether driver 595" in warning for warning in found.warnings)
    assert not any("not known whether driver" in w for w in stack("RTX 3060", kernel="6.17.1-mine").warnings)


def test_a_kernel_of_wsl2_gets_no_driver() -> None:
    found = no_stack("RTX 3060", kernel="5.15.167.4-microsoft-standard-WSL2")
    assert "Windows" in found.error


# --branch and --flavour


def test_a_requested_branch_or_variant_is_honoured() -> None:
    other = stack("RTX 3060", on="ubuntu-24.04", branch=595).driver
    assert other is not None
    assert (other.branch, other.flavour, other.source) == (595, "open", "prebuilt")
    closed = stack("RTX 3060", on="ubuntu-24.04", flavour="closed").driver
    assert closed is not None
    assert closed.packages == ("linux-modules-nvidia-580-generic-hwe-24.04", "nvidia-driver-580")
    opened = stack("RTX 3060", on="debian-13", flavour="open").driver
    assert opened is not None
    assert opened.source == "nvidia-repository"


@pytest.mark.parametrize(
    ("card", "on", "wanted", "words"),
    [
        (
            "GTX 1060",
            "ubuntu-24.04",
            {"branch": 595},
            "the last driver branch for GeForce GTX 1060 6GB is 580",
        ),
        ("GTX 1060", "ubuntu-24.04", {"flavour": "open"}, "needs the closed modules"),
        ("RTX 5070", "ubuntu-24.04", {"flavour": "closed"}, "needs the open modules"),
        ("RTX 3060", "debian-13", {"branch": 580}, "begins with branch 590"),
        ("RTX 3060", "ubuntu-24.04", {"branch": 470}, "it has 580 open and 580 closed and 595 open"),
        ("RTX 3060", "ubuntu-24.04", {"branch": 595, "flavour": "closed"}, "with the closed modules"),
    ],
)
def test_a_branch_or_variant_that_does_not_work_is_refused(
    card: str, on: str, wanted: dict[str, object], words: str
) -> None:
    found = no_stack(card, on=on, **wanted)
    assert words in found.error
    assert found.nearest is not None
    assert found.nearest.description == "the same with the driver that dlbox selects"


# What apt on the machine offers


def test_modules_and_headers_that_apt_does_not_offer_are_not_planned() -> None:
    own = "7.0.0-43-generic"
    offered = ("linux-headers-generic-hwe-24.04", "linux-modules-nvidia-535-generic")
    driver = stack("RTX 3060", kernel=own, apt_packages=offered).driver
    assert driver is not None
    assert driver.source == "dkms", "apt has no prebuilt modules of the branch"
    refused = no_stack("RTX 3060", kernel="6.17.1-mine", apt_packages=offered)
    assert "does not offer linux-headers-6.17.1-mine" in refused.error
    compiled = {"apt_packages": offered, "compiled_headers": ("6.17.1-mine",)}
    found = stack("RTX 3060", kernel="6.17.1-mine", **compiled)
    assert not any("headers" in warning for warning in found.warnings)


def test_prebuilt_modules_that_apt_offers_for_the_very_kernel_are_used() -> None:
    kernel = "6.8.0-1021-aws"
    modules = f"linux-modules-nvidia-580-open-{kernel}"
    driver = stack("RTX 3060", kernel=kernel, apt_packages=("linux-headers-aws", modules)).driver
    assert driver is not None
    assert driver.source == "prebuilt"
    assert driver.packages == (modules, "nvidia-driver-580-open")


def test_an_archive_without_any_package_of_the_kind_shows_nothing() -> None:
    driver = stack(
        "RTX 3060", kernel="7.0.0-43-generic", apt_packages=("linux-headers-generic-hwe-24.04",)
    ).driver
    assert driver is not None
    assert driver.source == "prebuilt", "the component restricted is enabled by the role"


def test_the_box_keeps_the_names_of_its_kernels_and_of_metapackages() -> None:
    spec = importlib.util.spec_from_file_location("box", PROVISION_DIR / "roles/preflight/files/box.py")
    assert spec is not None
    assert spec.loader is not None
    box = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(box)
    names = {
        "linux-headers-generic", "linux-headers-6.8.0-1-generic", "linux-headers-6.8.0-151-generic",
        "linux-modules-nvidia-580-open-generic-hwe-24.04", "linux-modules-nvidia-580-6.8.0-151-generic",
        "linux-modules-nvidia-580-6.8.0-2-generic", "proxmox-headers-6.17.13-2-pve",
    }  # fmt: skip
    assert box.offered(names, ["6.8.0-151-generic"]) == [
        "linux-headers-6.8.0-151-generic",
        "linux-headers-generic",
        "linux-modules-nvidia-580-6.8.0-151-generic",
        "linux-modules-nvidia-580-open-generic-hwe-24.04",
    ]
    assert box.offered({"linux-modules-nvidia-580-generic"}, []) is None, "the lists are empty"


# Whatever the box

CARDS = [
    Target(name=c.name, architecture=c.architecture, capability=c.compute_capability)
    for c in cards.catalogue()
]
versions = st.builds("{}.{}".format, st.sampled_from([4, 5, 6, 7, 8]), st.integers(0, 22))
endings = st.sampled_from(
    [".0-{}-generic", ".7-0{}-generic", ".10-7606120{}-generic", ".13-{}-pve", ".4+deb13-amd64", ".9+bpo-amd64",
     ".0-{}-amd64", ".1-mine", ".2-x64v3-xanmod{}", ".2-{}-liquorix-amd64", ".0-10{}-aws", ".1-surface-{}",
     ".87.2-microsoft-standard-WSL2", "", ".2-zabbly+"]
)  # fmt: skip
kernels = st.one_of(
    st.just(""),
    st.builds(lambda v, e, n: v + e.format(n), versions, endings, st.integers(1, 400)),
    st.sampled_from([kernel for _, kernel, _, _ in FOREIGN]),
)
requests = st.builds(
    Request,
    distribution=st.sampled_from([row.id for row in DATA.distributions]),
    targets=st.lists(st.sampled_from(CARDS), min_size=1, max_size=2).map(tuple),
    kernel=kernels,
    flavour=st.sampled_from([None, None, "open", "closed"]),
    branch=st.sampled_from([None, None, 535, 550, 580, 595, 615, 1]),
    further_indexes=st.booleans(),
)


@given(requests)
def test_never_a_driver_that_is_known_not_to_compile_or_other_than_requested(request: Request) -> None:
    found = resolve(request, DATA, DATA.date)
    if isinstance(found, NoStack) or found.driver is None:
        return
    driver = found.driver
    assert request.branch in (None, driver.branch)
    assert request.flavour in (None, driver.flavour)
    assert request.further_indexes or not found.indexes
    here = series(request.kernel)
    row = distribution(request.distribution)
    foreign = kind_of(row, request.kernel) is not None
    if driver.source == "prebuilt":
        assert not foreign, "only the distribution's own kernels have prebuilt modules"
    elif here is not None:
        build = module_builds.row_for(DATA.builds, driver.branch, driver.version, driver.flavour)
        verdict = build.verdict(here) if build else "unknown"
        assert verdict != "fails"
        warned = any("not known whether driver" in warning for warning in found.warnings)
        assert warned is (verdict == "unknown")
        assert headers_package(row, request.kernel) in driver.packages


@given(requests)
def test_a_refusal_names_a_nearest_plan_that_exists(request: Request) -> None:
    found = resolve(request, DATA, DATA.date)
    if isinstance(found, Stack):
        return
    nearest = found.nearest
    assert nearest is not None
    if not nearest.cards:
        return
    targets = tuple(target for target in request.targets if target.name in nearest.cards)
    kernel = request.kernel if "kernel" not in nearest.description else ""
    again = Request(
        distribution=nearest.distribution,
        targets=targets,
        kernel=kernel if nearest.distribution == request.distribution else "",
        frameworks=nearest.frameworks,
        branch=nearest.driver_branch,
        further_indexes=request.further_indexes,
    )
    assert isinstance(resolve(again, DATA, DATA.date), Stack)


@given(
    st.sampled_from(DATA.builds),
    st.sampled_from(["open", "closed"]),
    st.tuples(st.integers(3, 9), st.integers(0, 25)),
)
def test_the_table_is_monotonic(
    row: module_builds.BuildRow, flavour: Flavour, kernel: tuple[int, int]
) -> None:
    """A kernel that is older than one for which the modules compile cannot fail, and the reverse."""
    order = {"compiles": 0, "unknown": 1, "fails": 2}
    later = (kernel[0], kernel[1] + 1)
    assert order[row.verdict(kernel)] <= order[row.verdict(later)]
    found = module_builds.row_for(DATA.builds, row.branch, row.from_version, flavour)
    assert (found == row) is (flavour in row.flavours)


# The file

TEXT = module_builds.PATH.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('newest: "6.13"', 'newest: "6"', "`newest` of row 1 of `builds`: expected a kernel series"),
        ('fails: "6.17"', 'fails: "6.13"', "`fails` of row 1 of `builds`: expected a series after 6.13"),
        ("from_version: 535.216.03", "from_version: 550.216.03", "expected 535.x"),
        ("branch: 535", "branch: five", "`branch`"),
        ("schema_version: 1", "schema_version: 2", "expected 1, got `2`"),
        ("from_version: 570.153.02", "from_version: 570.133.07", "has a row already"),
        ("    verified: published", "    verified: surely", "`verified`"),
        ("builds:", "holes:", "`holes`"),
    ],
)
def test_a_wrong_row_is_named_with_its_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    path = tmp_path / "module_builds.yml"
    assert old in TEXT
    path.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(StackFileError) as caught:
        module_builds.read(path)
    assert expected in str(caught.value)
    assert "module_builds.yml, line " in str(caught.value)


def test_a_newer_table_beside_the_stack_file_is_used(tmp_path: Path) -> None:
    path = tmp_path / "stack.yml"
    path.write_text((PROVISION_DIR / "resolve" / "stack.yml").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "module_builds.yml").write_text(
        TEXT.replace('newest: "7.2"', 'newest: "7.8"'), encoding="utf-8"
    )
    assert any(row.newest == "7.8" for row in load(path).builds)
    (tmp_path / "module_builds.yml").unlink()
    assert load(path).builds == DATA.builds


def test_too_many_rows_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "module_builds.yml"
    head, _, rows = TEXT.partition("builds:\n")
    path.write_text(head + "builds:\n" + rows * 40, encoding="utf-8")
    with pytest.raises(StackFileError):
        module_builds.read(path)
