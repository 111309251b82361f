"""The pictures and tables of the README, from a real run: docs/report.png and the text between the READY marks.

    .venv/bin/python tests/benchmarks/pictures.py             # both, from a new run
    .venv/bin/python tests/benchmarks/pictures.py RUN.json    # docs/report.png only, from a stored run (--json)

Runs `dlbox ready --quick` into a folder of its own and needs Chromium. A run that fails a check, as beside other
programs, changes nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from bench.results.report.page import render
from bench.results.store import lookup

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    if len(sys.argv) > 1:
        photograph(render(lookup.read(Path(sys.argv[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-P", str(ROOT / "dlbox.py"), "ready", "--quick"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "XDG_DATA_HOME": folder, "COLUMNS": "80", "NO_COLOR": "1"},
        )
        if done.returncode:
            sys.exit(f"this run is nothing to show:\n{done.stdout}{done.stderr}")
        (page,) = Path(folder).rglob("*.html")
        table = done.stdout.replace(folder, "~/.local/share").rstrip()
        readme = ROOT / "README.md"
        text = re.sub(
            r"(<!-- READY -->\n```\n).*?(\n```)",
            lambda m: m[1] + table + m[2],
            readme.read_text(),
            flags=re.DOTALL,
        )
        readme.write_text(text)
        photograph(page.read_text())
    print(table)


def photograph(page: str) -> None:
    """Write docs/report.png: the upper part of the page, on a light background."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        path = Path(folder) / "report.html"
        path.write_text(page)
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        view = browser.new_page(viewport={"width": 900, "height": 1000}, color_scheme="light")
        view.goto(path.as_uri())
        view.screenshot(path=str(ROOT / "docs" / "report.png"))
        browser.close()


if __name__ == "__main__":
    main()
