"""``dlbox check`` as a person and as other programs meet it: golden outputs, options, files."""

from __future__ import annotations

import io
import json
import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import scenario
from rich.console import Console

from bench import health
from bench.commands import check as checkup
from bench.finding import Finding, Status, verdict
from bench.results.export.junit import junit_xml
from bench.results.export.prometheus import prometheus_text
from bench.results.record.document import Document, from_json, json_schema, to_json
from bench.results.terminal import check_results
from inventory import gather
from inventory.machine.reading import Reading
from inventory.machine.records import Machine
from tests import checks_page

GOLDEN = Path(__file__).with_name("golden")
"""DLBOX_GOLDEN=write pytest tests/test_checkup.py writes these files anew: look at the difference then."""


def document(machine: Machine) -> Document:
    findings = health.run(machine)
    return Document(
        command="check",
        verdict=verdict(findings, has_gpu=machine.has_gpu),
        machine=machine,
        findings=tuple(findings),
        started_at="2026-01-02T03:04:05+00:00",
        dlbox_version="0.0.0",
    )


def table(given: Document) -> str:
    out = io.StringIO()
    check_results.show(given, Console(file=out, width=100, highlight=False))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


RENDER: dict[str, Any] = {
    "txt": table,
    "json": lambda given: to_json(given) + "\n",
    "xml": junit_xml,
    "prom": prometheus_text,
}


@pytest.mark.parametrize("form", RENDER)
@pytest.mark.parametrize("name", ["rtx3060_idle", "hot_and_throttling", "nouveau_bound", "cpu_only"])
def test_output_is_as_recorded(name: str, form: str, tmp_path: Path) -> None:
    rendered = RENDER[form](document(scenario.load(name).machine(tmp_path)))
    file = GOLDEN / f"check_{name}.{form}"
    if os.environ.get("DLBOX_GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(rendered)
    assert rendered == file.read_text()


def test_the_document_fits_its_schema_and_reads_back(tmp_path: Path) -> None:
    given = document(scenario.load("two_cards_one_crashes").machine(tmp_path))
    jsonschema.validate(json.loads(to_json(given)), json_schema())
    assert from_json(to_json(given)) == given


def test_several_cards_that_agree_share_a_row(tmp_path: Path) -> None:
    text = table(document(scenario.load("two_of_four").machine(tmp_path)))
    assert "Power brake (2 GPUs)" in text
    assert "Power brake (GPU 0)" not in text


def test_signs_that_xml_and_labels_do_not_have_are_replaced() -> None:
    odd = Finding(
        id="gpu.model", status=Status.FAIL, title='A "card"', message="a\x00b\x1b[31m <&>\n", remedy="r\\"
    )
    given = Document(command="check", verdict="not-ready", machine=Machine(read_at=""), findings=(odd,),
                     started_at="2026-01-02T03:04:05+00:00", dlbox_version="0")  # fmt: skip
    root = ElementTree.fromstring(junit_xml(given))  # noqa: S314
    failure = root.find(".//failure")
    assert failure is not None
    assert "<&>" in failure.get("message", "")
    assert 'check="gpu.model"' in prometheus_text(given)


def test_every_check_explains_itself() -> None:
    for check in health.checks():
        for text in (check.title, check.looks_at, check.limits, check.applies_to, check.source, check.fix):
            assert text, check.id
        assert len(check.explanation) > 40, check.id
        assert check.id.partition(".")[0] == check.theme
        assert check.id in check_results.explanation(check)
    assert "Xid" in check_results.explanation(health.REGISTER["errors.xid"])


def test_list_names_every_check_with_limits_and_source(dlbox: Any) -> None:
    done = dlbox("check", "--list")
    assert done.returncode == 0
    for check in health.checks():
        assert f"{check.id}  " in done.stdout
    listed = json.loads(dlbox("check", "--list", "--json").stdout)["checks"]
    assert {"id", "limits", "source", "applies_to", "looks_at"} <= set(listed[0])


def test_explain_tells_what_to_do_and_helps_with_a_wrong_name(dlbox: Any) -> None:
    done = dlbox("check", "--explain", "pcie.link-width:1")
    assert (done.returncode, "How to fix: " in done.stdout) == (0, True)
    done = dlbox("check", "--explain", "pcie.width")
    assert done.returncode == 2
    assert "pcie.link-width" in done.stderr


@pytest.mark.parametrize("option", ["--only", "--skip"])
def test_a_theme_that_does_not_exist_is_a_usage_error(dlbox: Any, option: str) -> None:
    done = dlbox("check", option, "thermals")
    assert done.returncode == 2
    assert "thermal" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--only", "load"], "--stress"), (["--only", "pcie", "--skip", "pcie"], "removes every theme")],
)
def test_a_choice_that_would_look_at_nothing_is_refused(dlbox: Any, options: list[str], words: str) -> None:
    done = dlbox("check", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_a_card_out_of_reach_is_told_whatever_theme_is_asked_for(tmp_path: Path) -> None:
    machine = scenario.load("library_mismatch").machine(tmp_path / "a")
    assert [f.id for f in health.run(machine, only=("thermal",)) if f.status is Status.FAIL] == [
        "driver.mismatch"
    ]
    machine = scenario.load("lost_handle").machine(tmp_path / "b")
    assert [f.id for f in health.run(machine, only=("thermal",)) if f.status is Status.FAIL] == [
        "gpu.responds"
    ]
    fine = scenario.load("rtx3060_idle").machine(tmp_path / "c")
    told = health.run(fine, only=("thermal",), expect_gpus=2)
    assert [f.id for f in told if f.status is Status.FAIL] == ["gpu.count"]


def test_only_and_skip_choose_themes(tmp_path: Path) -> None:
    machine = scenario.load("rtx3060_idle").machine(tmp_path)
    assert {f.theme for f in health.run(machine, only=("pcie", "host"))} == {"pcie", "host"}
    assert "pcie" not in {f.theme for f in health.run(machine, skip=("pcie",))}


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = scenario.load("rtx3060_idle").machine(tmp_path)
    monkeypatch.setattr(gather, "gather", lambda: machine)
    return machine


def test_files_are_written_beside_the_table(
    box: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = checkup.CheckOptions(
        exports={"junit": tmp_path / "a" / "check.xml", "prometheus": tmp_path / "dlbox.prom"}
    )
    assert checkup.run(options, print) == 0
    assert "READY" in capsys.readouterr().out
    assert ElementTree.parse(tmp_path / "a" / "check.xml").getroot().tag == "testsuites"  # noqa: S314
    assert "dlbox_sound 1\n" in (tmp_path / "dlbox.prom").read_text()
    assert [p.name for p in tmp_path.glob(".*prom*")] == []


def test_a_file_that_cannot_be_written_is_said_and_ends_in_1(box: Machine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said: list[str] = []
    assert (
        checkup.run(
            checkup.CheckOptions(as_json=True, exports={"junit": tmp_path / "file" / "x.xml"}), said.append
        )
        == 1
    )
    assert "cannot write" in said[0]


def test_a_build_says_what_the_power_supply_is(box: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    told = checkup.examine(checkup.CheckOptions(build="2017"))
    assert told.machine.power_supply is not None
    assert told.machine.power_supply.source == "the build 2017"
    said: list[str] = []
    assert checkup.run(checkup.CheckOptions(build="no-such-build"), said.append) == 2
    assert "under-1000" in said[0]


def test_a_small_power_supply_is_told(box: Machine) -> None:
    told = checkup.examine(checkup.CheckOptions(power_supply=300))
    finding = next(f for f in told.findings if f.id == "power.supply")
    assert (finding.status, finding.measured) == (Status.WARN, 300)
    enough = checkup.examine(checkup.CheckOptions(power_supply=550))
    assert next(f for f in enough.findings if f.id == "power.supply").status is Status.PASS


def test_left_over_variables_are_found(box: Machine) -> None:
    def with_variables(**variables: str) -> Finding:
        host = msgspec.structs.replace(box.host, variables=variables)
        findings = health.run(msgspec.structs.replace(box, host=host), only=("host",))
        return next(f for f in findings if f.id == "host.variables")

    assert with_variables(CUDA_VISIBLE_DEVICES="").status is Status.WARN
    assert with_variables(CUDA_VISIBLE_DEVICES="-1").remedy == "unset CUDA_VISIBLE_DEVICES"
    assert with_variables(CUDA_LAUNCH_BLOCKING="1").status is Status.WARN
    assert with_variables(CUDA_VISIBLE_DEVICES="0").status is Status.PASS


def test_a_full_disk_and_a_closed_kernel_log_are_told(box: Machine) -> None:
    disk = msgspec.structs.replace(box.host.disk.value, free_bytes=100 << 20)
    host = msgspec.structs.replace(box.host, disk=Reading.of(disk), memory_bytes=2 << 30)
    closed = msgspec.structs.replace(box, host=host, kernel_log=Reading.no_permission("closed"))
    told = {f.id: f for f in health.run(closed)}
    assert told["host.disk"].status is Status.FAIL
    assert told["host.memory"].status is Status.WARN
    assert told["errors.xid"].status is Status.UNKNOWN
    assert "usermod" in str(told["errors.xid"].remedy)


def test_a_check_that_breaks_hides_no_other(box: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*subjects: object) -> None:
        raise ZeroDivisionError("x")

    spoilt = msgspec.structs.replace(health.REGISTER["power.draw"], judge=broken)
    monkeypatch.setitem(health.REGISTER, "power.draw", spoilt)
    monkeypatch.setattr(health, "checks", lambda: (spoilt, health.REGISTER["power.limit"]))
    told = health.run(box)
    assert [f.status for f in told] == [Status.UNKNOWN, Status.PASS]
    assert "ZeroDivisionError" in told[0].message


def test_the_reference_lists_every_check_with_its_limit_and_remedy() -> None:
    rows = {row.split("`")[1]: row for row in checks_page.page().splitlines() if row.startswith("| `")}
    assert set(rows) == {check.id for check in health.checks()}
    for check in health.checks():
        for text in (check.title, check.limits, check.source, check.fix):
            assert " ".join(text.split()) in rows[check.id].replace("\\|", "|")


def test_the_comparison_with_other_checkers_names_checks_that_exist() -> None:
    page = Path(__file__).parent.parent / "docs" / "evidence" / "other-checkers.md"
    named = set(re.findall(r"`([a-z]+\.[a-z0-9-]+)`", page.read_text()))
    assert named
    assert named <= {check.id for check in health.checks()}
