"""Run lessons as a learner does; write docs/evidence/lessons.json and, from it, docs/evidence/lessons.md.

    .venv/bin/python tests/benchmarks/lessons.py [--full] [--backend NAME] [LESSON ...]
    .venv/bin/python tests/benchmarks/lessons.py --render        # only docs/evidence/lessons.md again

Each run is a process of its own, with an empty cache. Runs that are not named keep the figures they have.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from workshops.lessons import catalog  # noqa: E402
from workshops.player.expected import Lesson  # noqa: E402
from workshops.player.live import expected_range, number  # noqa: E402

KEPT, PAGE = ROOT / "docs" / "evidence" / "lessons.json", ROOT / "docs" / "evidence" / "lessons.md"
BACKENDS = ("tensorflow", "torch", "jax")
Runs = dict[str, dict[str, Any]]


def run(name: str, backend: str, mode: str) -> dict[str, Any]:
    """One lesson from the command line: its outcome, seconds by the clock, other programs' load in cores."""
    import psutil

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "dlbox.py"), "workshop", "run", name, "--json"]
        command += ["--backend", backend, "--output", folder, *(["--quick"] if mode == "quick" else [])]
        before, began = psutil.cpu_times(), time.perf_counter()
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "XDG_CACHE_HOME": folder}, check=False
        )
        wall, after = time.perf_counter() - began, psutil.cpu_times()
    if not done.stdout:
        raise SystemExit(f"{name} on {backend} gave nothing: {done.stderr[-2000:]}")
    outcome = json.loads(done.stdout)
    own = os.times()
    run.spent, spent = own.children_user + own.children_system, getattr(run, "spent", 0.0)  # type: ignore[attr-defined]
    busy = sum(after) - sum(before) - (after.idle - before.idle) - (after.iowait - before.iowait)
    other = max(0.0, busy - (run.spent - spent)) / wall  # type: ignore[attr-defined]
    return {
        "wall": round(wall, 1),
        "seconds": round(outcome["seconds"], 1),
        "other_load": round(other, 2),
        "ok": outcome["ok"],
        "measured": {m["name"]: m["value"] for m in outcome["measured"]},
    }


def load() -> dict[str, Any]:
    """What is kept, or an empty beginning."""
    if KEPT.exists():
        return dict(json.loads(KEPT.read_text(encoding="utf-8")))
    return {"machine": "", "runs": {}}


def machine() -> str:
    """The processor and the versions, in one line."""
    model = next(
        line.partition(": ")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    )
    names = [("Keras", "keras"), ("TensorFlow", "tensorflow-cpu"), ("torch", "torch"), ("JAX", "jax")]
    versions = ", ".join(f"{shown} {version(name)}" for shown, name in names)
    return f"{os.cpu_count()} cores of {model}, no card, Python {platform.python_version()}, {versions}"


def render(kept: dict[str, Any]) -> str:
    """docs/evidence/lessons.md as text."""
    runs: Runs = kept["runs"]
    lines = [
        "# Results of the lessons",
        "",
        f"Measured on {kept['machine']}, seed 0. This page is generated from [lessons.json](lessons.json) by",
        "`.venv/bin/python tests/benchmarks/lessons.py --render`. A test checks that the page agrees with the file",
        "and that the figures lie in the expected ranges of the lessons. The seconds are of the whole command,",
        "including the start of Keras and compilation. Rows were measured on different days and machines, all with two",
        "cores; some machines are half as fast as others.",
        "",
        "## All lessons with `--quick`",
        "",
        "    .venv/bin/python tests/benchmarks/lessons.py",
        "",
        "In parentheses: the number of cores that other programs kept busy during the run. With more than a few",
        "tenths the seconds say little about the lesson: the limit of 60 s applies to an otherwise idle machine.",
        "",
        "| lesson | " + " | ".join(f"{b}, s" for b in BACKENDS) + " | figures in their expected range |",
        "|---|" + "---|" * (len(BACKENDS) + 1),
    ]
    for lesson in catalog.lessons():
        cells, right, promised = [], 0, 0
        for backend in BACKENDS:
            found = runs.get(f"{lesson.name}/quick/{backend}")
            cells.append(f"{found['wall']:.0f} ({found['other_load']:.1f})" if found else "not run")
            for expected in lesson.expected_values(quick=True) if found else ():
                value = found["measured"].get(expected.name) if found else None
                promised += 1
                right += value is not None and expected.contains(value)
        lines.append(f"| {lesson.name} | {' | '.join(cells)} | {right} of {promised} |")
    lines += ["", "## Full runs", "", "    .venv/bin/python tests/benchmarks/lessons.py --full", ""]
    for lesson in catalog.lessons():
        lines += _full(lesson, runs)
    return "\n".join(lines).rstrip() + "\n"


def _full(lesson: Lesson, runs: Runs) -> list[str]:
    """The section of one lesson: every number of its full run, a column a backend."""
    found = {b: runs[f"{lesson.name}/full/{b}"] for b in BACKENDS if f"{lesson.name}/full/{b}" in runs}
    if not found:
        return [f"### {lesson.name}", "", "Not run.", ""]
    times = ", ".join(f"{f['wall']:.0f} s on {b}" for b, f in found.items())
    lines = [f"### {lesson.name}", "", f"{lesson.title}: {times}.", ""]
    lines += [f"| | {' | '.join(found)} | expected |", "|---|" + "---|" * (len(found) + 1)]
    names = dict.fromkeys(name for f in found.values() for name in f["measured"])
    for name in names:
        values = [f["measured"].get(name) for f in found.values()]
        shown = ["" if v is None else number(v) for v in values]
        expected = next((e for e in lesson.expected if e.name == name and e.mode != "quick"), None)
        lines.append(f"| {name} | {' | '.join(shown)} | {expected_range(expected)} |")
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lessons", nargs="*", help="names; all without one")
    parser.add_argument("--full", action="store_true", help="full runs, on TensorFlow unless named")
    parser.add_argument("--backend", action="append", choices=BACKENDS)
    parser.add_argument("--render", action="store_true", help="only write the page again")
    asked = parser.parse_args()
    mode = "full" if asked.full else "quick"
    backends = asked.backend or (["tensorflow"] if asked.full else list(BACKENDS))
    names = [catalog.find(name).name for name in asked.lessons] or [
        lesson.name for lesson in catalog.lessons()
    ]
    for name in [] if asked.render else names:
        for backend in backends:
            found = run(name, backend, mode)
            kept = load()
            kept["machine"] = machine()
            kept["runs"][f"{name}/{mode}/{backend}"] = found
            KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            print(name, backend, mode, f"{found['wall']} s", "ok" if found["ok"] else "OFF", flush=True)
    PAGE.write_text(render(load()), encoding="utf-8")


if __name__ == "__main__":
    main()
