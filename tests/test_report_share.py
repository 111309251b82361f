"""The headline of the report, its picture and badge, and the page of trends."""

from __future__ import annotations

import builtins
import struct
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.commands import report as command
from bench.finding import Finding, Status
from bench.results.report import headline, history_page, page, share
from bench.results.store.history import History, default_path
from tests import pages
from tests.conftest import Command
from tests.samples import document, machine, result


def compared(
    check: str, measured: Any, expected: Any, status: Status = Status.PASS, name: str = "lstm"
) -> Finding:
    return Finding(
        theme="training", check=check, subject=name, status=status, title="t", message="m", measured=measured,
        expected=expected, unit="samples/s", remedy="r",
    )  # fmt: skip


def test_bands_come_before_a_baseline_and_a_baseline_before_a_prediction() -> None:
    predicted = compared("predicted", 104.0, 100.0)
    baseline, band = compared("baseline", 90.0, 100.0), compared("band", 120.0, 100.0)
    assert headline.should(document(findings=())) == ""
    assert "prediction from the probes of this processor: 104% in 1 model" in headline.should(
        document(findings=(predicted,))
    )
    assert "own baseline: 90%" in headline.should(document(findings=(predicted, baseline)))
    assert "As fast as" in headline.should(document(findings=(predicted, baseline, band)))
    slow = compared("band", 80.0, 100.0, Status.FAIL, "gru")
    assert "Slower than every measured" in headline.should(document(findings=(band, slow)))


def test_several_models_have_a_standard_error() -> None:
    found = [
        compared("predicted", 100.0 * f, 100.0, name=n)
        for n, f in (("lstm", 1.0), ("gru", 1.1), ("cnn", 1.21))
    ]
    assert "110% ± 6 in 3 models" in headline.should(document(findings=tuple(found)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0, True, "fast", None])
def test_a_comparison_without_usable_numbers_is_not_shown(value: Any) -> None:
    assert headline.should(document(findings=(compared("predicted", value, 100.0),))) == ""


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        ("Intel(R) Core(TM) i5-12400F CPU @ 2.50GHz", "Intel Core i5-12400F"),
        ("AMD Ryzen 5 5600X 6-Core Processor", "AMD Ryzen 5 5600X 6-Core"),
        ("", "processor"),
    ],
)
def test_the_subject_is_the_processor_where_no_card_trained(model: str, shown: str) -> None:
    host = msgspec.structs.replace(machine().host, cpu_model=model)
    assert headline.subject(document(machine=machine(host=host))) == shown


def test_the_first_lines_have_card_verdict_score_and_day_and_no_raw_time() -> None:
    text = page.render(pages.on_card())
    assert "<h1>RTX 3060</h1>" in text
    assert "<b>2,122</b>" in text
    assert "22 November 2026, 20:00 UTC" in text
    assert "2026-11-22T" not in text


def test_columns_without_values_are_left_out() -> None:
    text = page.render(document(results=(result("lstm", compile_seconds=None, accuracy=None, ceiling=None),)))
    assert 'data-label="accuracy"' not in text
    assert 'data-label="tokens/s"' not in text
    assert 'data-label="samples/s"' in text


def test_the_badge_is_xml_with_verdict_and_score() -> None:
    root = ET.fromstring(share.badge(pages.on_card()))  # noqa: S314 - made here
    assert root.attrib["aria-label"] == "dlbox: READY 2,122, RTX 3060"
    evil = machine(host=msgspec.structs.replace(machine().host, cpu_model="<script>&"))
    ET.fromstring(share.badge(document(machine=evil)))  # noqa: S314


def size(png: bytes) -> tuple[int, int]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    return width, height


@pytest.mark.parametrize(
    "made",
    [
        pages.on_card(),
        pages.cut_short(),
        document(results=(), findings=()),
        document(machine=machine(host=msgspec.structs.replace(machine().host, cpu_model="$x^{" * 99))),
    ],
)
def test_the_picture_has_the_size_of_a_link_preview(made: Any) -> None:
    pytest.importorskip("matplotlib")
    assert size(share.picture(made)) == (1200, 630)


@pytest.fixture
def stored(own_data_folder: Path) -> Path:
    store = History(default_path())
    for number, version in enumerate(("2.20.0", "2.21.0", "2.21.0"), 1):
        made = document(
            started_at=f"2026-11-0{number}T12:00:00+00:00",
            results=(result("lstm", *[400.0 + number] * 4, versions={"tensorflow": version}),),
        )
        store.save(store.begin(made), made, "complete")
    return own_data_folder / "dlbox" / "reports"


def test_share_writes_picture_and_badge_beside_the_page(dlbox: Command, stored: Path) -> None:
    pytest.importorskip("matplotlib")
    done = dlbox("report", "--share")
    assert done.returncode == 0, done.stderr
    names = ["dlbox-ready-run3.html", "dlbox-ready-run3-badge.svg", "dlbox-ready-run3.png"]
    assert done.stdout.splitlines() == [str(stored / name) for name in names]
    assert size((stored / names[2]).read_bytes()) == (1200, 630)


def test_without_matplotlib_the_page_and_the_badge_are_written(
    stored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] in ("matplotlib", "numpy")]:
        monkeypatch.delitem(sys.modules, name)
    load = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] in ("matplotlib", "numpy"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return load(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    problems: list[str] = []
    assert command.run("3", None, problems.append) == 0
    assert problems == []
    assert command.run("3", None, problems.append, share=True) == 1
    assert problems == ["no picture was written, because matplotlib is not installed: install dlbox[draw]"]
    written = capsys.readouterr().out.splitlines()
    assert [Path(line).name for line in written] == [
        "dlbox-ready-run3.html", "dlbox-ready-run3.html", "dlbox-ready-run3-badge.svg",
    ]  # fmt: skip


def test_the_page_of_trends_marks_the_run_where_versions_changed(dlbox: Command, stored: Path) -> None:
    done = dlbox("report", "--history")
    assert (done.returncode, done.stdout) == (0, f"{stored / 'dlbox-history.html'}\n"), done.stderr
    text = (stored / "dlbox-history.html").read_text()
    assert "run 2, 2 November 2026, 12:00 UTC: tensorflow 2.20.0 to 2.21.0" in text
    assert "run 3," not in text
    assert text.count('class="change"') == 2  # of the score and of lstm


def test_trends_keep_machines_and_settings_apart() -> None:
    now = pages.on_card()
    runs = pages.past(now, 0.9, 1.1)
    host = msgspec.structs.replace(now.machine.host, hostname="<b>other</b>")
    last = runs[1].document
    assert last is not None
    moved = msgspec.structs.replace(last, machine=msgspec.structs.replace(last.machine, host=host))
    found = history_page.trends([runs[0], msgspec.structs.replace(runs[1], document=moved)])
    assert [len(one.trends[0].points) for one in found] == [1, 1]
    text = history_page.render([runs[0], msgspec.structs.replace(runs[1], document=moved)])
    assert "<b>other" not in text
    partial = msgspec.structs.replace(runs[0], state="partial")
    assert history_page.trends([partial]) == []


@pytest.mark.parametrize(
    "options",
    [
        ["--history", "3"],
        ["--history", "--share"],
        ["--history", "--markdown"],
        ["--share", "--csv", "x.csv"],
    ],
)
def test_options_that_exclude_each_other_are_a_usage_error(
    dlbox: Command, stored: Path, options: list[str]
) -> None:
    done = dlbox("report", *options)
    assert done.returncode == 2
    assert "use it without" in done.stderr
