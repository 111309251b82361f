from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.finding import Finding, Status
from bench.results import report
from bench.results.telemetry import CardSummary, Telemetry
from tests.samples import document, machine, result, telemetry

GOLDEN = Path(__file__).parent / "golden" / "report.html"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def without_charts(page: str) -> str:
    """Charts differ between releases of the library that draws them; what stands around them does not."""
    return re.sub(r"<svg.*?</svg>", "<svg/>", page, flags=re.DOTALL)


def test_the_page_is_the_golden_one() -> None:
    """After a wanted change: DLBOX_GOLDEN=write pytest tests/test_report.py, and look at the difference."""
    page = without_charts(report.render(document(run_id=7)))
    if os.environ.get("DLBOX_GOLDEN") == "write":
        GOLDEN.write_text(page)
    assert page == GOLDEN.read_text()


def test_the_same_result_gives_the_same_page() -> None:
    assert report.render(document()) == report.render(document())


def test_charts_have_a_text_that_says_what_they_show() -> None:
    page = report.render(document())
    labels = re.findall(r'<svg role="img" aria-label="([^"]+)"', page)
    assert len(labels) == 2
    assert "lstm 400 samples/s" in labels[0]


def watched() -> Any:
    """Results of a card: one warm, one that told little, one whose watching broke."""
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


def test_the_card_is_shown_where_it_was_watched() -> None:
    page = report.render(document(results=watched()))
    labels = re.findall(r'<svg role="img" aria-label="([^"]+)"', page)
    assert labels[2:] == [
        "The card while lstm trained, over time: clock 1,792 to 1,852 MHz; at most 83 °C; 160 W on average; "
        "software thermal slowdown for 4.5 s",
        "The card while gru trained, over time: at most 83 °C",
    ]
    drawn = page.split("<svg")[3]
    assert "held down by heat or a power fault" in drawn
    assert "at its power limit (harmless)" in drawn
    assert "cnn-lstm: the card could not be watched to the end: NVML did not start: no permission." in page
    assert "a&lt;b (1)" in page
    assert "alone, by\nenergy counter and nothing (not told)." in page


def test_nothing_on_the_page_points_outside() -> None:
    page = report.render(document())
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(link.startswith(("#", "data:")) for link in links), links
    assert "<script" not in page
    assert "@import" not in page
    assert len(page.encode()) < 1_500_000


def test_hostile_words_stay_words() -> None:
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
    assert "<script" not in page


@pytest.mark.parametrize("verdict", ["ready", "cpu-only", "not-ready"])
def test_a_page_without_results_is_a_page(verdict: Any) -> None:
    page = report.render(document(verdict=verdict, results=(), findings=()))
    assert "Training speed" not in page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400])
@pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"), reason="Chromium is not installed")
def test_in_a_browser(width: int, scheme: Any, tmp_path: Path) -> None:
    """No console message, no request, nothing wider than the window, and text that can be read."""
    from playwright.sync_api import sync_playwright

    path = tmp_path / "report.html"
    path.write_text(report.render(document(run_id=7, results=watched())), encoding="utf-8")
    heard: list[str] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"],
        )
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda message: heard.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: heard.append(f"error: {error}"))
        page.on("request", lambda request: heard.append(f"request: {request.url}"))
        page.goto(path.as_uri())
        assert heard == [f"request: {path.as_uri()}"]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("h1").inner_text() == "dlbox ready"
        assert page.locator(".verdict strong").inner_text() == "CPU ONLY"
        assert page.locator("svg[role=img]").count() == 4
        assert page.evaluate(CONTRAST) >= 4.5
        browser.close()


CONTRAST = """() => {
  const luminance = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map(v => v / 255)
      .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const paper = luminance(getComputedStyle(document.body).backgroundColor);
  return Math.min(...[...document.querySelectorAll('p, td, th, dd, .status, .soft, svg text')].map(e => {
    const style = getComputedStyle(e), ink = luminance(e.tagName === 'text' ? style.fill : style.color);
    return (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05); }));
}"""
"""The least contrast of any text with the page's background, by WCAG 2's formula."""
