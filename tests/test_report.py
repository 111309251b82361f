"""The HTML report: content, charts, escaping, size, and rendering in a browser."""

from __future__ import annotations

import itertools
import os
import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.finding import Finding, Status
from bench.measure.workloads import SUITES
from bench.results.record.card import CardSummary, Telemetry
from bench.results.record.document import to_json
from bench.results.report import page as report
from bench.results.store.history import History, default_path
from tests import pages
from tests.conftest import Command
from tests.samples import document, machine, result, telemetry

GOLDEN = Path(__file__).parent / "golden" / "report.html"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def test_the_page_equals_the_golden_file() -> None:
    """After a wanted change: DLBOX_GOLDEN=write pytest tests/test_report.py, and look at the difference."""
    page = report.render(document(run_id=7))
    if os.environ.get("DLBOX_GOLDEN") == "write":
        GOLDEN.write_text(page)
    assert page == GOLDEN.read_text()


def test_equal_results_give_equal_pages() -> None:
    assert report.render(document()) == report.render(document())


def test_charts_have_a_text_alternative() -> None:
    page = report.render(document())
    labels = re.findall(r'role="img" aria-label="([^"]+)"', page)
    assert len(labels) == 3
    assert "lstm 400 samples/s" in labels[0]
    assert labels[1].startswith("Samples per second of each timed block of lstm: 398 to 402")
    assert page.count("<svg") == 2


def watched() -> Any:
    """Results with a card: one with a warm card, one with few readings, one whose readings ended early."""
    warm, seen = telemetry(), telemetry()
    hot = {"software thermal slowdown": 4.5}
    warm = msgspec.structs.replace(
        warm,
        summary=msgspec.structs.replace(warm.summary, harmful_seconds=hot, other_programs=("a<b (1)",)),
    )
    columns = msgspec.structs.asdict(seen.samples)
    nothing = dict.fromkeys(set(columns) - {"second", "temperature_c"}, (None,) * 40)
    poor = Telemetry(
        gpu=0,
        timed=seen.timed,
        samples=msgspec.structs.replace(seen.samples, **nothing),
        summary=CardSummary(seconds=14.5, readings=29, temperature_max_c=83),
    )
    broken = Telemetry(trouble="NVML did not start: no permission")
    return tuple(
        result(name, on_gpu=True, device="cuda:0", telemetry=told)
        for name, told in (("lstm", warm), ("gru", poor), ("cnn-lstm", broken))
    )


def test_readings_of_the_card_are_drawn_if_recorded() -> None:
    page = report.render(document(results=watched()))
    labels = re.findall(r'<svg role="img" aria-label="(The card[^"]+)"', page)
    assert labels == [
        "The card during training of lstm, over time: clock 1,792 to 1,852 MHz; maximum 83 °C; 160 W on average; "
        "software thermal slowdown for 4.5 s",
        "The card during training of gru, over time: maximum 83 °C",
    ]
    drawn = page.split(labels[0])[1].split("</svg>")[0]
    assert drawn.count('class="slow"') == 1
    assert drawn.count('class="limit"') == 1
    assert drawn.count('class="timed"') == 2
    assert "clock reduced by heat or a power fault" in page
    assert "at the power limit (normal)" in page
    assert "cnn-lstm: reading the card failed: NVML did not start: no permission." in page
    assert "a&lt;b (1)" in page
    assert "card only, from\nenergy counter and no source." in page


def chart_told(page: str, start: str) -> str:
    (told,) = re.findall(rf'role="img" aria-label="({start}[^"]*)"', page)
    return str(told)


def test_a_speed_is_shown_with_its_interval_earlier_runs_and_expected_speed() -> None:
    now = pages.twelve()
    told = chart_told(report.render(now, pages.past(now, 0.9, 1.1, 2.9)), "Training throughput")
    assert (
        "gru 342 samples/s, expected of another run 317 to 368, expected speed 402, median of 3 earlier runs 376"
        in told
    )
    assert told.count("earlier") == 12


@pytest.mark.parametrize("change", ["machine", "fingerprint", "batch", "partial", "later", "interrupted"])
def test_runs_of_another_kind_are_not_shown_as_earlier_runs(change: str) -> None:
    now = pages.on_card()
    (run,) = pages.past(now, 0.9)
    old = run.document
    assert old is not None
    same = now.results
    changes: dict[str, Any] = {
        "fingerprint": {"fingerprint": "0" * 16},
        "batch": {"batch_size": 64},
        "partial": {"partial": True},
    }.get(change, {})
    old = msgspec.structs.replace(old, results=tuple(msgspec.structs.replace(r, **changes) for r in same))
    if change == "machine":
        host = msgspec.structs.replace(old.machine.host, hostname="elsewhere")
        old = msgspec.structs.replace(old, machine=msgspec.structs.replace(old.machine, host=host))
    if change == "later":
        old = msgspec.structs.replace(old, started_at="2027-01-01T00:00:00+00:00")
    alike = msgspec.structs.replace(run, document=msgspec.structs.replace(run.document, results=same))
    assert report.references_of(now, [alike])[0].earlier == (9100.0,)
    state = "partial" if change == "interrupted" else "complete"
    other = msgspec.structs.replace(run, document=old, state=state)
    assert report.references_of(now, [other])[0].earlier == ()


def test_the_roofline_shows_every_model_and_both_limits() -> None:
    page = report.render(pages.on_card())
    told = chart_told(page, "Roofline")
    assert told.startswith("Roofline: memory 318 GB/s, matrix peak fp32 11.2 TFLOP/s, tf32 22.4 TFLOP/s")
    # 9,100 x 55 MFLOP; 27.5 FLOP per byte x 318 GB/s = 8.745 TFLOP/s
    assert "lstm 0.5 TFLOP/s at 27.5 FLOP per byte, 6% of the memory limit" in told
    assert told.count("FLOP per byte") == 3
    drawn = page.split('aria-label="Roofline')[1].split("</svg>")[0]
    assert all(f"<title>{name}</title>" in drawn for name in ("lstm", "gru", "cnn-lstm"))
    assert "Sloped line: memory 318 GB/s" in page


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"probes": None}, "were not measured in this run"),
        ({"probes": msgspec.structs.replace(pages.ON_CARD, on_gpu=False)}, "on another device"),
        (
            {"probes": msgspec.structs.replace(pages.ON_CARD, matmul_tflops={"fp16": 45.1})},
            "in another precision",
        ),
        (
            {
                "probes": msgspec.structs.replace(
                    pages.ON_CARD, bandwidth_gb_s=None, troubles={"bandwidth": "out of memory"}
                )
            },
            "has no result (bandwidth: out of memory)",
        ),
        ({"results": (result("lstm"),)}, "number of operations of these models is unknown"),
    ],
)
def test_a_missing_roofline_is_explained(changes: Any, why: str) -> None:
    page = report.render(msgspec.structs.replace(pages.on_card(), **changes))
    assert "<p>No roofline: " in page
    assert why in page
    assert 'aria-label="Roofline' not in page


def test_the_evidence_for_the_kernel_is_on_the_page() -> None:
    page = report.render(pages.on_card())
    assert "fused, 9.0 times the generic one" in page
    assert "the primitive rnn_fwd is in the jaxpr" in page
    assert "lstm: the fastest batch size is 512" in page


def test_the_page_loads_nothing_from_elsewhere() -> None:
    page = report.render(document())
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(link.startswith(("#", "data:")) for link in links), links
    assert "@import" not in page
    assert "fetch(" not in page


def test_the_page_of_twelve_models_with_earlier_runs_is_small() -> None:
    now = pages.twelve()
    assert len(report.render(now, pages.past(now, 0.97, 1.02, 1.1)).encode()) < 1_500_000


def test_the_page_of_a_full_suite_on_a_card_is_small_and_draws_the_worst_cards() -> None:
    """Sixteen models at two sizes: thirty-two charts over time would take a browser's patience and 2 MB."""
    made = pages.full()
    assert len(made.results) == 2 * len(SUITES["full"])
    page = report.render(made, pages.past(made, 0.97, 1.02, 1.1))
    assert len(page.encode()) < 1_500_000
    drawn = re.findall(r"<summary>([^<]*), over time", page)
    assert len(drawn) == 4
    assert drawn[:2] == ["cnn on tensorflow", "cnn, batch 512 on tensorflow"], "it was held down"
    assert drawn[2:] == ["cnn-lstm-faithful on tensorflow", "cnn-lstm-faithful, batch 512 on tensorflow"], (
        "hottest"
    )
    assert page.count(">lstm-dropout-faithful, batch 512</th>") >= 2  # its figures are there all the same


def test_html_in_texts_is_escaped() -> None:
    evil = '<script>alert("x")</script>'
    host = msgspec.structs.replace(machine().host, hostname=evil)
    finding = Finding(id="a.b", status=Status.FAIL, title=evil, message=evil, remedy=evil)
    page = report.render(
        document(
            machine=machine(host=host),
            findings=(finding,),
            results=(result("lstm", versions={evil: evil}, device=evil),),
        )
    )
    assert page.count("<script") == 1  # the page's own, for the copy button
    assert page.count("</textarea") == 1


def test_text_between_backquotes_in_a_finding_is_formatted_as_code() -> None:
    finding = Finding(
        id="a.b",
        status=Status.FAIL,
        title="t",
        message="`<b>x</b>` is odd",
        remedy="run `dlbox check`, then ` again",
    )
    page = report.render(document(findings=(finding,), results=()))
    assert "<code>&lt;b&gt;x&lt;/b&gt;</code> is odd" in page
    assert "run <code>dlbox check</code>, then ` again" in page


@pytest.mark.parametrize(
    ("status", "results", "unfolded"),
    [(Status.PASS, (), True), (Status.PASS, (result(),), False), (Status.FAIL, (), False)],
)
def test_passed_checks_are_folded_unless_nothing_else_is_shown(
    status: Status, results: Any, unfolded: bool
) -> None:
    """They are the page where there is nothing else to look at."""
    calm = Finding(id="host.swap", status=Status.PASS, title="Swap", message="none")
    other = Finding(
        id="host.disk", status=status, title="Disk space", message="9 GiB free", remedy="make room"
    )
    page = report.render(document(findings=(calm, other), results=results))
    (mark,) = re.findall(r"<details([^>]*)><summary>\d passed or skipped", page)
    assert (mark == " open") is unfolded


def test_all_other_figures_are_on_the_page() -> None:
    made = pages.twelve()
    first = msgspec.structs.replace(made.results[0], tokens_per_second=119_097.0, variant="fast")
    slow = result("lstm-faithful", 100.0, variant="faithful")
    page = report.render(msgspec.structs.replace(made, results=(first, slow)))
    for words in ("119,097", "368 to 428", "4%", "700", "0.396", "thousand, 999 USD on 2026-11-01"):
        assert words in page
    assert "its fast variant lstm has 3.97 times the samples/s" in page


@pytest.mark.parametrize("verdict", ["ready", "cpu-only", "not-ready"])
def test_a_document_without_results_can_be_rendered(verdict: Any) -> None:
    page = report.render(document(verdict=verdict, results=(), findings=()))
    assert "Training speed" not in page


def test_the_command_accepts_a_number_a_word_or_a_file(
    dlbox: Command, own_data_folder: Path, tmp_path: Path
) -> None:
    store = History(default_path())
    for day in (1, 2):
        made = document(started_at=f"2026-11-0{day}T12:00:00+00:00", command="bench")
        store.save(store.begin(made), made, "complete")
    foreign = tmp_path / "other.json"
    foreign.write_text(to_json(document(run_id=1, command="bench")))
    reports = own_data_folder / "dlbox" / "reports"
    for which, name in (
        ([], "dlbox-bench-run2.html"),
        (["1"], "dlbox-bench-run1.html"),
        (["previous"], "dlbox-bench-run1.html"),
        (["last"], "dlbox-bench-run2.html"),
        ([str(foreign)], "dlbox-bench-20261122200000.html"),  # its number is of another history
    ):
        done = dlbox("report", *which)
        assert (done.returncode, done.stdout) == (0, f"{reports / name}\n"), done.stderr
        assert (reports / name).is_file()
    assert dlbox("report", "baseline").returncode == 2


def shown() -> dict[str, str]:
    twelve = pages.twelve()
    return {
        "plain": report.render(document(run_id=7, results=watched())),
        "card": report.render(pages.on_card()),
        "partial": report.render(pages.cut_short()),
        "full": report.render(pages.full()),
        "twelve": report.render(twelve, pages.past(twelve, 0.97, 1.02, 2.9)),
    }


@pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"), reason="Chromium is not installed")
def test_the_page_works_in_a_browser(tmp_path: Path) -> None:
    """No console message, no request, nothing wider than the window, text that can be read, and a summary to copy."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"],
        )
        for name, text in shown().items():
            path = tmp_path / f"{name}.html"
            path.write_text(text, encoding="utf-8")
            for width, scheme in itertools.product((360, 390, 1400), SCHEMES):
                _look(browser, path, width, scheme)
        browser.close()


SCHEMES: tuple[Any, ...] = ("light", "dark")


def _look(browser: Any, path: Path, width: int, scheme: Any) -> None:
    heard: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.on("console", lambda message: heard.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: heard.append(f"error: {error}"))
    page.on("request", lambda request: heard.append(f"request: {request.url}"))
    page.goto(path.as_uri())
    assert page.evaluate(WIDEST) <= width, path
    assert page.evaluate(CONTRAST) >= 4.5, (path, width, scheme)
    assert page.evaluate(
        "[...document.querySelectorAll('svg, [role=img]')].every(s => s.getAttribute('aria-label'))"
    )
    page.locator("#copy").click()
    page.locator("#copied").get_by_text(re.compile("Copied|Selected")).wait_for()
    assert page.locator("#summary").input_value().startswith("## dlbox ")
    page.emulate_media(media="print", color_scheme=scheme)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.set_viewport_size({"width": 700, "height": 1000})  # what A4 has between its margins
    assert page.evaluate("document.documentElement.scrollWidth") <= 700, path
    if width == 1400 and path.stem != "full":  # thirty-two results
        assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True))) <= 2, path
    if AXE.is_file():
        page.emulate_media(media="screen", color_scheme=scheme)
        page.evaluate(AXE.read_text())
        assert page.evaluate("axe.run().then(r => r.violations.map(v => v.id + ' ' + v.nodes[0].html))") == []
    assert heard == [f"request: {path.as_uri()}"]
    page.close()


AXE = Path(os.environ.get("DLBOX_AXE", "node_modules/axe-core/axe.min.js"))
"""axe-core's script (`npm install axe-core`), which finds faults for people with disabilities; optional."""

WIDEST = """() => {
  for (const folded of document.querySelectorAll('details')) folded.open = true;
  return document.documentElement.scrollWidth; }"""
"""Width in pixels with everything unfolded."""

CONTRAST = """() => {
  const luminance = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map(v => v / 255)
      .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const paper = luminance(getComputedStyle(document.body).backgroundColor);
  const texts = 'p, td, th, dd, dt, li, footer, .score span, .bar span, .panel span, .status, .soft, svg text';
  return Math.min(...[...document.querySelectorAll(texts)].map(e => {
    const style = getComputedStyle(e), ink = luminance(e.tagName === 'text' ? style.fill : style.color);
    return (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05); }));
}"""
"""The least contrast of any text with the page's background, by WCAG 2's formula."""
