"""`dlbox doctor`: the first fault, the next command, what follows, and repairs through `dlbox provision`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench import health
from bench.commands.computer import doctor
from bench.doctor import repairs, story
from bench.doctor.story import Story
from bench.finding import Finding, Status, verdict
from bench.health.causes.explain import explain
from inventory import gather
from inventory.machine.records import Machine, PciCard
from tests import scenario
from tests.conftest import Command
from tests.samples import machine as plain_machine

NAMES = sorted(path.stem for path in scenario.FOLDER.glob("*.yml"))
PLAN = {
    "cards": ["GeForce RTX 3060 12GB"],
    "driver": {"branch": 580, "flavour": "open"},
    "environments": {"tensorflow": {}, "torch": {}},
}


def story_of(
    name: str, folder: Path, plan: dict[str, Any] | None = PLAN
) -> tuple[Machine, list[Finding], Story]:
    machine = scenario.load(name).machine(folder)
    findings = health.run(machine)
    return machine, findings, story.compose(machine, findings, explain(machine), plan)


@pytest.mark.parametrize("name", NAMES)
def test_the_story_agrees_with_the_checks(name: str, tmp_path: Path) -> None:
    """It works exactly if the verdict is good; its fault, evidence and remedy are those of a finding."""
    machine, findings, found = story_of(name, tmp_path)
    good = verdict(findings, has_gpu=machine.has_gpu) != "not-ready"
    assert (found.state == "works") is good
    assert (found.broken is None) is good
    by_id = {finding.id: finding for finding in findings}
    if found.broken is not None:
        finding = by_id[found.broken.id]
        assert finding.status in (Status.FAIL, Status.UNKNOWN)
        assert found.next_step == finding.remedy
        assert all(command in (finding.remedy or "") for command in found.broken.commands)
        assert found.after[-1].startswith("dlbox ready")
    passed = {finding.title for finding in findings if finding.status is Status.PASS}
    assert set(found.works) == passed
    assert {finding.id for finding in found.also} < set(by_id) or not found.also


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("nouveau_bound", "driver.nouveau"),
        ("secure_boot_refuses", "driver.secure-boot"),
        ("library_mismatch", "driver.mismatch"),
        ("prebuilt_missing", "driver.prebuilt-missing"),
        ("lost_one_of_two", "driver.lost"),
        ("lost_then_consequences", "driver.lost"),
        ("power_cables_missing", "driver.cables"),
        ("two_cards_one_crashes", "gpu.responds:0"),
        ("ecc_switched_on", "errors.ecc"),
    ],
)
def test_the_first_fault_is_the_root(name: str, first: str, tmp_path: Path) -> None:
    _, _, found = story_of(name, tmp_path)
    assert found.broken is not None
    assert found.broken.id == first


@pytest.mark.parametrize("name", [name for name in NAMES if "container" in name or "wsl" in name])
def test_no_driver_repair_is_offered_inside_another_system(name: str, tmp_path: Path) -> None:
    machine, _, found = story_of(name, tmp_path)
    if machine.host.environment in ("container", "wsl2"):
        assert not any("driver" in one.tags for one in repairs.repairs(found, provisioned=True))
        assert not any(step.startswith("dlbox provision: driver") for step in found.after)


def test_the_driver_of_the_plan_follows_a_fault_if_none_is_installed(tmp_path: Path) -> None:
    fault = Finding(
        theme="gpu",
        check="count",
        status=Status.FAIL,
        title="t",
        message="m",
        remedy="put the card into its slot",
    )
    card = PciCard(address="0000:01:00.0", device_id=0x2503)
    found = story.compose(plain_machine(cards=(card,)), [fault], [], PLAN)
    assert (found.next_step, found.next_command) == ("put the card into its slot", None)
    assert found.after[0].startswith("dlbox provision: driver 580 (open)")
    assert found.plan == "driver 580 (open modules), tensorflow, torch"
    _, _, installed = story_of("secure_boot_refuses", tmp_path)
    assert not any(step.startswith("dlbox provision: driver") for step in installed.after)


def test_a_sound_computer_gets_ready_as_its_next_command(tmp_path: Path) -> None:
    _, _, found = story_of("rtx3060_idle", tmp_path)
    assert (found.state, found.next_command, found.broken) == ("works", "dlbox ready", None)


class Box:
    """A computer whose fault is repaired by the call of provision, if ``repairable``."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, repairable: bool = True) -> None:
        self.broken = scenario.load("nouveau_bound").machine(folder / "broken")
        self.sound = scenario.load("rtx3060_idle").machine(folder / "sound")
        self.calls: list[list[str]] = []
        self.questions: list[str] = []
        self.sentences: list[str] = []
        self.repairable = repairable
        monkeypatch.setattr(gather, "gather", lambda: self.machine)
        monkeypatch.setattr(doctor, "_plan", lambda child: PLAN)
        monkeypatch.setattr(doctor, "BACKENDS", ())

    @property
    def machine(self) -> Machine:
        return self.sound if self.calls and self.repairable else self.broken

    def start(self, words: Sequence[str]) -> int:
        self.calls.append(list(words))
        return 0 if self.repairable else 1

    def run(self, *, agree: bool = True) -> int:
        def confirm(question: str) -> bool:
            self.questions.append(question)
            return agree

        return doctor.run(
            from_path=None,
            fix=True,
            as_json=False,
            complain=self.sentences.append,
            confirm=confirm,
            start=self.start,
        )


def test_a_repair_is_shown_asked_run_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    box = Box(tmp_path, monkeypatch)
    assert box.run() == 0
    assert box.calls == [["provision", "--tags", "driver", "--yes"]]
    assert len(box.questions) == 1
    out = capsys.readouterr().out
    assert "dlbox runs: dlbox provision --tags driver --yes" in out
    assert out.index("driver.nouveau") < out.index("Broken:  nothing")


def test_a_refused_repair_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = Box(tmp_path, monkeypatch)
    assert box.run(agree=False) == 1
    assert box.calls == []
    assert box.sentences == ["nothing was changed"]


def test_a_repair_that_does_not_help_is_tried_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    box = Box(tmp_path, monkeypatch, repairable=False)
    assert box.run() == 1
    assert len(box.calls) == 1
    assert "dlbox cannot repair this. Do this yourself: " in capsys.readouterr().out
    assert box.sentences == ["the repair ended with exit code 1: its own messages are above"]


def test_small_repairs_of_a_working_driver_are_offered() -> None:
    held = Finding(
        theme="driver",
        check="packages",
        status=Status.WARN,
        title="t",
        message="m",
        remedy="sudo apt-mark hold x",
    )
    found = story.compose(plain_machine(), [held], [], PLAN)
    (offer,) = repairs.repairs(found, provisioned=False)
    assert (offer.tags, offer.findings, offer.shown) == (
        ("driver",),
        ("driver.packages",),
        ("sudo apt-mark hold x",),
    )


@pytest.mark.parametrize("provisioned", [True, False])
def test_frameworks_are_repaired_where_provision_installed_them(provisioned: bool) -> None:
    fault = Finding(
        theme="frameworks", check="torch", status=Status.FAIL, title="t", message="m", remedy="install it"
    )
    offers = repairs.repairs(story.compose(plain_machine(), [fault], [], PLAN), provisioned=provisioned)
    assert [offer.tags for offer in offers] == ([("frameworks", "dlbox")] if provisioned else [])


@pytest.mark.parametrize("name", ["module_not_loaded", "branch_dropped_pascal"])
def test_no_repair_is_offered_that_the_role_does_not_do(name: str, tmp_path: Path) -> None:
    _, _, found = story_of(name, tmp_path)
    assert found.broken is not None
    assert repairs.repairs(found, provisioned=True) == []
    assert found.next_command != "dlbox doctor --fix"


@pytest.mark.parametrize("name", NAMES)
def test_a_computer_without_a_fault_has_one_next_command(name: str, tmp_path: Path) -> None:
    _, _, found = story_of(name, tmp_path)
    if found.broken is None:
        assert found.next_command == "dlbox ready"
        assert found.next_step.startswith("dlbox ready")


# The command.


def test_a_report_gets_the_same_story(dlbox: Command, tmp_path: Path) -> None:
    report = tmp_path / "box"
    report.mkdir()
    (report / "lspci.txt").write_text(
        "01:00.0 VGA compatible controller [0300]: NVIDIA Corporation GA106 [GeForce RTX 3060] [10de:2503] (rev a1)\n"
        "\tKernel driver in use: nouveau\n\tKernel modules: nvidiafb, nouveau\n"
    )
    (report / "os-release").write_text('ID=ubuntu\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04.3 LTS"\n')
    (report / "uname.txt").write_text("Linux box 6.8.0-79-generic #79-Ubuntu SMP x86_64 GNU/Linux\n")
    (report / "lsmod.txt").write_text("Module                  Size  Used by\nnouveau 3096576 4\n")
    done = dlbox("doctor", "--from", str(report), "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["broken"]["id"]) == (1, "driver.nouveau"), done.stderr
    assert document["plan"].startswith("driver 5")
    assert document["judged_from"]
    text = dlbox("doctor", "--from", str(report), NO_COLOR="1", COLUMNS="80")
    assert "nouveau" in text.stdout
    assert "\x1b" not in text.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--fix"], "stdin is not a terminal"),
        (["--fix", "--from", "x"], "--fix repairs this computer"),
        (["--fix", "--json"], "leave out --json"),
        (["--from", ""], "the value is empty"),
        (["--from", "-"], "dlbox: stdin contains no text"),
        (["--fix", "--yes", "--from", "x"], "--fix repairs this computer"),
        (["--fix", "--yes", "--json"], "leave out --json"),
        (["--from", "missing"], "missing"),
    ],
)
def test_wrong_calls_get_one_sentence(dlbox: Command, words: list[str], sentence: str) -> None:
    done = dlbox("doctor", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_this_computer_gets_a_story(dlbox: Command) -> None:
    done = dlbox("doctor", "--json")
    document = json.loads(done.stdout)
    assert document["command"] == "doctor"
    assert done.returncode == (0 if document["state"] == "works" else 1)


@pytest.mark.parametrize("columns", ["0", "00", "²"])
def test_a_width_of_zero_or_no_number_does_not_empty_the_output(dlbox: Command, columns: str) -> None:
    assert "Next:" in dlbox("doctor", COLUMNS=columns).stdout
