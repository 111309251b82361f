"""The distribution files: one file adds a release, and a wrong file is refused with file, line and field."""

from __future__ import annotations

import ast
import copy
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.health.causes import module_causes, remedies
from dlbox import cli  # noqa: TID251 - the command is what is tested
from inventory.cards import cards
from provision import PROVISION_DIR
from provision.ansible import playbook
from provision.ansible.playbook import PlaybookJob
from provision.distributions import distribution_file, role_metas
from provision.distributions.row_checks import StackFileError
from provision.resolve.load import DEFAULT_PATH, load
from provision.resolve.stack import NoStack, Request, Stack, Target, resolve
from tests.conftest import ROOT
from tests.hostile import placed, texts
from tests.test_playbook import RecordingProgress
from tests.test_variables import rendered

SHIPPED = {
    path.stem: path.read_text(encoding="utf-8") for path in distribution_file.files(distribution_file.FOLDER)
}
FICTIONAL = """\
schema_version: 1
id: fictional-1
name: Fictional 1
codename: unicorn
aliases: [fic1]
date: 2026-11-22
source: invented for this test
verified: memory
python: "3.12"
python_packages: [python3, python3-venv]
apt_verifier: sqv
kernel: {flavour: standard, variants: [tiny-standard], assumed_flavour: standard}
archive:
  uri: https://archive.fictional.example/fictional
  domain: fictional.example
  suites: [unicorn, unicorn-updates]
  components: [main]
  keyring: /usr/share/keyrings/fictional.gpg
  keyring_package: fictional-keyring
  security: {suffix: -security, suite: unicorn-security}
dkms_certificate: /var/lib/fictional/mok.pub
repository:
  uri: https://repository.example/compute/fictional1/x86_64/
  keyring: cuda-keyring_1.1-1_all.deb
  key_id: ABCDABCD
  fingerprint: 00000000000000000000000000000000ABCDABCD
  sha1_signature: false
  date: 2026-11-22
  source: invented for this test
  verified: memory
drivers:
  - branch: 580
    version: 580.178.04
    flavour: open
    origin: nvidia-repository
    pinning: [nvidia-driver-pinning-580]
    packages: ["{headers}", nvidia-open]
    components: [extra]
    why: The repository has the branch.
    date: 2026-11-22
    source: invented for this test
    verified: memory
"""


@pytest.fixture
def stack_file(tmp_path: Path) -> Path:
    """A stack file whose folder of distributions has one file more than dlbox ships."""
    path = tmp_path / "stack.yml"
    shutil.copy(DEFAULT_PATH, path)
    folder = tmp_path / "distributions"
    folder.mkdir()
    for name, text in SHIPPED.items():
        (folder / f"{name}.yml").write_text(text, encoding="utf-8")
    (folder / "fictional-1.yml").write_text(FICTIONAL, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["fictional-1", "Fictional 1", "unicorn", "fic1"])
def test_one_file_adds_a_release_that_is_planned(stack_file: Path, name: str) -> None:
    arguments = ["plan", "--distro", name, "--card", "RTX 3060", "--stack", str(stack_file)]
    done = CliRunner().invoke(cli, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    assert plan["distribution"] == "fictional-1"
    assert plan["driver"]["packages"] == [
        "nvidia-driver-pinning-580",
        "linux-headers-standard",
        "nvidia-open",
    ]
    assert plan["driver"]["repository"]["uri"] == "https://repository.example/compute/fictional1/x86_64/"
    assert plan["python"]["source"] == "distribution"
    text = CliRunner().invoke(cli, [*arguments, "--verbose"])
    assert text.exit_code == 0
    assert "The repository has the branch." in " ".join(text.stdout.split())


def test_one_file_adds_a_release_whose_sources_and_pins_are_rendered(stack_file: Path) -> None:
    data = load(stack_file)
    text = rendered("fictional-1", "RTX 3060", data)
    for line in (
        "URIs: https://archive.fictional.example/fictional",
        "Suites: unicorn unicorn-updates",
        "Components: extra",
        "Signed-By: /usr/share/keyrings/fictional.gpg",
        "URIs: https://repository.example/compute/fictional1/x86_64/",
        "Pin: release o=NVIDIA",
        "Secure Boot: a key of this box's own, /var/lib/fictional/mok.pub, "
        "nvidia-driver-pinning-580 linux-headers-standard nvidia-open",
    ):
        assert line in text.splitlines()


MACHINES = {
    "fictional": ("Fictional", "1", "unicorn"),
    "point": ("Fictional", "1.7", "unicorn"),
    "bookworm": ("Debian", "12.5", "bookworm"),
    "noble": ("Ubuntu", "24.04", "noble"),
    "later": ("Ubuntu", "24.10", None),
    "major": ("Ubuntu", "24", None),
    "short": ("Debian", "1", None),
    "path": ("../distributions/Debian", "12", None),
    "pattern": (".*", "12", None),
    "template": ("{{ 7 * 6 }}", "12", None),
}
"""Host -> distribution and version as Ansible gathers them, and the codename in the file that belongs to them."""


def test_the_role_loads_the_file_of_each_machine(stack_file: Path, tmp_path: Path) -> None:
    facts = {
        "distribution": "{{ given_name }}",
        "distribution_version": "{{ given_version }}",
        "cacheable": True,
    }
    expected = {"that": "distribution_release.codename == given_codename", "quiet": True}
    tasks = [
        {"name": "The facts are gathered", "ansible.builtin.set_fact": facts},
        {"name": "The facts are known", "ansible.builtin.include_role": {"name": "distribution"}},
        {"name": "They are those of the release", "ansible.builtin.assert": expected},
    ]
    path = tmp_path / "facts.yml"
    path.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
    inventory = tmp_path / "hosts.yml"
    hosts = {name: {"ansible_connection": "local"} for name in MACHINES}
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
    values = {
        name: {"given_name": distribution, "given_version": version, "given_codename": codename,
               "distribution_folder": str(load(stack_file).folder)}
        for name, (distribution, version, codename) in MACHINES.items()
    }  # fmt: skip
    job = PlaybookJob(playbook=path, inventories=(inventory,), variables=values, hosts=tuple(MACHINES))
    outcome = playbook.run(job, RecordingProgress(), tmp_path / "logs")
    assert {host.name for host in outcome.hosts} == set(MACHINES)
    for host in outcome.hosts:
        message = host.message or ""
        if MACHINES[host.name][2] is None:
            assert host.status == "failed", host
            known = ", ".join(sorted(row.id for row in load(stack_file).distributions))
            assert f"is not supported: install one of {known}." in message
            assert "42" not in message
        else:
            assert host.status == "ok", host


def test_the_metadata_of_every_role_names_every_release() -> None:
    rows = role_metas.shipped()
    stale = [str(path) for path, _ in role_metas.changed_metas(PROVISION_DIR / "roles", rows)]
    assert stale == [], "run: python -m provision.distributions.role_metas"
    metas = list((PROVISION_DIR / "roles").glob("*/meta/main.yml"))
    assert len(metas) == len(list((PROVISION_DIR / "roles").iterdir()))
    for path in metas:
        platforms = yaml.safe_load(path.read_text(encoding="utf-8"))["galaxy_info"]["platforms"]
        assert {name for platform in platforms for name in platform["versions"]} == {
            row.codename for row in rows
        }


def test_a_new_release_enters_the_metadata_of_the_roles(stack_file: Path, tmp_path: Path) -> None:
    roles = tmp_path / "roles"
    for path in (PROVISION_DIR / "roles").glob("*/meta/main.yml"):
        copied = roles / path.relative_to(PROVISION_DIR / "roles")
        copied.parent.mkdir(parents=True)
        shutil.copy(path, copied)
    rows = load(stack_file).distributions
    for path, text in role_metas.changed_metas(roles, rows):
        path.write_text(text, encoding="utf-8")
    for path in roles.glob("*/meta/main.yml"):
        platforms = yaml.safe_load(path.read_text(encoding="utf-8"))["galaxy_info"]["platforms"]
        assert {"name": "Fictional", "versions": ["unicorn"]} in platforms
    assert not list(role_metas.changed_metas(roles, rows))


def test_the_health_check_names_the_certificate_of_the_release() -> None:
    for row in load().distributions:
        assert module_causes._CERTIFICATES[row.family] == row.dkms_certificate


def test_the_health_check_knows_the_first_kernel_of_each_ubuntu_release() -> None:
    for row in load().distributions:
        if row.family == "ubuntu":
            assert remedies._FIRST_KERNEL[row.id.removeprefix("ubuntu-")] == row.kernel.first_series


RELEASE = re.compile(r"debian[-_ ]?1\d|ubuntu[-_ ]?2\d|trixie|bookworm|noble|jammy|resolute", re.IGNORECASE)
PROVISION = ROOT / "provision"


@pytest.mark.parametrize(
    "path", sorted(PROVISION.rglob("*.py")), ids=lambda path: str(path.relative_to(PROVISION))
)
def test_no_code_names_a_release_as_a_value(path: Path) -> None:
    """Messages and docstrings may show a release as an example; a value would make another place to change."""
    values = [
        node.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert [value for value in values if RELEASE.match(value) and " " not in value] == []


def test_no_role_names_a_release() -> None:
    files = [path for pattern in ("tasks/*.yml", "vars/*.yml", "defaults/*.yml", "templates/*.j2")
             for path in (PROVISION / "roles").glob(f"*/{pattern}")]  # fmt: skip
    lines = [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(files) > 30
    assert [line for line in lines if RELEASE.search(line) and not line.lstrip().startswith("#")] == []


def wrong(tmp_path: Path, name: str, text: str) -> str:
    """The message about a folder in which one file has another content."""
    for each, original in SHIPPED.items():
        (tmp_path / f"{each}.yml").write_text(original, encoding="utf-8")
    (tmp_path / f"{name}.yml").write_text(text, encoding="utf-8")
    with pytest.raises(StackFileError) as caught:
        load(distributions=tmp_path)
    message = str(caught.value)
    assert re.match(rf"{re.escape(name)}\.yml, line \d+: ", message)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("debian-12", "id: debian-12", "id: bookworm", r"`id`: expected `debian-12`, the name of the file"),
        ("debian-12", "schema_version: 1", "schema_version: 7", r"`schema_version`: expected 1, got `7`"),
        ("debian-12", "schema_version: 1\n", "", r"`schema_version`: expected 1, got nothing"),
        ("debian-12", "codename: bookworm\n", "", r"lacks `codename`"),
        ("debian-12", "codename: bookworm", "codename: 'book worm'", r"`codename`: expected a name"),
        ("debian-12", 'python: "3.11"', "python: three", r"`python`: expected a release version"),
        ("debian-12", "apt_verifier: gpgv", "apt_verifier: pgp", r"`apt_verifier` is expected to be `gpgv` or `sqv`"),
        ("debian-12", "flavour: amd64", "flavour: 'amd64 -y'", r"`flavour` of `kernel`: expected a name"),
        ("ubuntu-24.04", 'first_series: "6.8"', "first_series: new", r"`first_series` of `kernel`: expected a rel"),
        ("debian-12", "uri: http://deb", "uri: 'http://deb\\nx", r"line \d+"),
        ("debian-12", "uri: http://deb", "uri: file://deb", r"`uri` of `archive`: expected an address"),
        ("debian-12", "suites: [bookworm, bookworm-updates]", "suites: []", r"`suites` of `archive`: expected at"),
        ("debian-12", "dkms_certificate: /var", "dkms_certificate: var", r"`dkms_certificate`: expected"),
        ("debian-12", "branch: 535", "branch: 700", r"`branch` of row 1 of `drivers`: .*got 700|`version`"),
        ("debian-12", "flavour: closed", "flavour: open", r"`flavour` of row 1 of `drivers`: branch 535 has closed"),
        ("debian-12", "version: 535.261.03", "version: 550.1.2", r"`version` of row 1 of `drivers`: expected 535.x"),
        ("debian-12", "/debian12/x86_64/", "/debian125/x86_64/", r"`uri` of `repository`: .*/debian12/x86_64/"),
        ("debian-12", "https://developer", "http://developer", r"`uri` of `repository`: expected https"),
        ("debian-12", "fingerprint: EB693B3035CD", "fingerprint: EB69", r"`fingerprint` of `repository`: .*40 digits"),
        ("debian-12", "key_id: 3BF863CC", "key_id: 3BF863CD", r"`key_id` of `repository`: expected the end of the fin"),
        ("debian-12", "keyring: cuda", "keyring: ../../cuda", r"`keyring` of `repository`: expected the name"),
        ("debian-12", "{headers}", "{header}", r"`packages` of row 1 of `drivers`: expected names of packages"),
        ("debian-12", "nvidia-open]", "nvidia-open; reboot]", r"`packages` of row 2 .*expected names of packages"),
        ("debian-12", "nvidia-open]", "cuda-drivers]", r"`packages` of row 2 .*cuda-drivers must not be used.*empty"),
        ("debian-12", "[nvidia-cuda-toolkit]", "[cuda-drivers]", r"`packages` of row 1 of `toolkits`: cuda-drivers"),
        ("debian-12", "version: 11.8.89", "version: latest", r"`version` of row 1 of `toolkits`: expected a release"),
        ("debian-12", 'code: ["3.5", "9.0"]', 'code: ["9.0", "3.5"]', r"`code` of row 1 of `toolkits`: .*lowest first"),
        ("debian-12", "python_packages: [python3", "python_packages: [-python3", r"`python_packages`: expected a name"),
        ("ubuntu-26.04", "nvidia-driver-580]", "nvidia-driver-570]", r"nvidia-driver-570 must not be used on ubuntu"),
        ("ubuntu-24.04", "nvidia-driver-580]", "nvidia-driver-615]", r"nvidia-driver-615 must not be used.*transition"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_with_file_line_and_expected_value(
    tmp_path: Path, name: str, old: str, new: str, expected: str
) -> None:
    assert old in SHIPPED[name]
    assert re.search(expected, wrong(tmp_path, name, SHIPPED[name].replace(old, new, 1)))


def test_a_driver_from_nvidias_repository_needs_the_repository(tmp_path: Path) -> None:
    data = yaml.safe_load(SHIPPED["debian-12"])
    del data["repository"]
    message = wrong(tmp_path, "debian-12", yaml.safe_dump(data, sort_keys=False))
    assert "`origin` of row 2 of `drivers`: nvidia-repository needs the section `repository`" in message


def test_a_folder_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StackFileError, match="contains no distribution file"):
        load(distributions=tmp_path)


FREE_TEXT = {"source", "why", "name"}
"""Fields that are shown to a person and that are part of no package name, no file and no command."""


def test_a_hostile_text_in_any_field_is_refused_or_only_shown(tmp_path: Path) -> None:
    document = yaml.safe_load(FICTIONAL)
    document["toolkits"] = yaml.safe_load(SHIPPED["debian-12"])["toolkits"][:1]
    document["forbidden"] = yaml.safe_load(SHIPPED["ubuntu-24.04"])["forbidden"][:1]
    document["own_driver_module"] = "nvidia-current"
    path = tmp_path / "fictional-1.yml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    distribution_file.read(path)
    for text in texts(tmp_path / "canary")[:2]:
        for where, hostile in placed(document, text):
            path.write_text(yaml.safe_dump(hostile, sort_keys=False), encoding="utf-8")
            field = re.sub(r"\[\d+\]", "", where).rpartition(".")[2]
            if field in FREE_TEXT:
                continue
            with pytest.raises(StackFileError) as caught:
                distribution_file.read(path)
            assert "\n" not in str(caught.value) or where.startswith(" key"), where
            assert len(str(caught.value)) < 700, where
    assert not (tmp_path / "canary").exists()


PLAIN = {name: yaml.safe_load(text) for name, text in SHIPPED.items()}
VALUES = st.sampled_from(
    [None, "", "x", 0, "9.9", [], ["{x}"], {}, "open", 1e9, ["3.12", "3.10"], "3.12", "prebuilt"]
)
AMPERE = Target(name="a card", architecture="ampere", capability="8.6")


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(path for key, inner in items for path in paths(inner, (*here, key)))]


@given(st.sampled_from(sorted(PLAIN)), st.data())
@settings(max_examples=40, deadline=None)
def test_any_file_is_refused_in_a_sentence_or_gives_an_answer(
    tmp_path_factory: pytest.TempPathFactory, name: str, draw: st.DataObject
) -> None:
    document = copy.deepcopy(PLAIN[name])
    for _ in range(draw.draw(st.integers(1, 3))):
        *above, last = draw.draw(st.sampled_from([path for path in paths(document) if path]))
        place = document
        for key in above:
            place = place[key]
        if draw.draw(st.booleans()):
            place[last] = draw.draw(VALUES)
        else:
            del place[last]
    folder = tmp_path_factory.mktemp("distributions")
    (folder / f"{name}.yml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    message = ""
    try:
        data = load(distributions=folder)
    except StackFileError as error:
        message = str(error)
    if message:
        assert re.match(rf"{re.escape(name)}\.yml, line \d+: .+\Z", message)
        return
    for kernel in ("", "6.8.0-151-generic", "6.1.0-40-amd64"):
        for targets in ((), (AMPERE,)):
            request = Request(distribution=name, targets=targets, kernel=kernel, cuda_toolkit=True)
            assert isinstance(resolve(request, data, data.date), Stack | NoStack)


def test_every_catalogue_card_has_a_plan_on_a_release_of_one_file(stack_file: Path) -> None:
    """Of the cards that the one driver row supports."""
    data = load(stack_file)
    for card in cards.catalogue():
        target = Target(name=card.name, architecture=card.architecture, capability=card.compute_capability)
        found = resolve(Request(distribution="fictional-1", targets=(target,)), data, data.date)
        assert isinstance(found, Stack if card.module_flavour != "closed" else NoStack), card.name
