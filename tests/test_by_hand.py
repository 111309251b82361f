"""Every worked number of the slides is printed, and each formula equals the Keras layer on every backend."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workshops import catalog

RUN = """
import io, json, sys
from pathlib import Path
from workshops.page import Settings
from workshops.start import start
text = io.StringIO()
outcome = start(sys.argv[1], Settings(output=Path(sys.argv[2]), quick=True), backend=sys.argv[3], out=text)
print("\\x1e" + json.dumps({**outcome.document(), "text": text.getvalue()}))
"""


def run_child(name: str, folder: Path, backend: str) -> dict:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    env = {**os.environ, "XDG_CACHE_HOME": str(folder), "PYTHONPATH": str(Path(__file__).parent.parent)}
    env.pop("KERAS_BACKEND", None)
    command = [sys.executable, "-c", RUN, name, str(folder), backend]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.rpartition("\x1e")[2])


@pytest.fixture(scope="module", params=["tensorflow", "torch", "jax"])
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict:
    return run_child("by-hand", tmp_path_factory.mktemp("by-hand"), request.param)


def test_numpy_equals_keras(outcome: dict) -> None:
    compared = {m["name"]: m["value"] for m in outcome["measured"] if m["expected"]}
    assert set(compared) == {e.name for e in catalog.find("by-hand").expected}
    assert outcome["ok"], compared


@pytest.mark.parametrize(
    "printed",
    [
        "0.2 x 0.4 + 0.4 x 3 = 1.28",
        "tanh(1.28) = 0.8565",
        "Keras says 0.8565",
        "The slide prints 0.9",
        "the sum is 0.76 and the output 0.64",
        "0.1200",
        "-0.1500",
        "1.0000  1.0000  0.0000   0.6000          1.0000",
        "1.0000    0.7311                     0.6667                0.7000",
        "= 180",
        "= 135",
        "= 150",
        "window 1: 0.2000 0.3000 0.2000, bias 0.0000, determinant 87.5",
        "window 2: 0.3000 0.3000 0.1000, bias 0.0000, determinant 271.3",
        "kernel A, window 1: [ 2.85  5.26 -3.36 -1.02], summed 3.73",
        "kernel A, window 2: [ 1.81 -1.12 -4.49 -0.89], summed -4.69",
        "kernel B, window 1: [ 2.96  8.12 -3.21 -1.17], summed 6.70",
        "kernel B, window 2: [ 2.74 -0.26 -4.44 -0.82], summed -2.78",
        "words 1 and 2: [ 9.7 23.4 -0.6 -1.2]",
        "words 3 and 4: [ 0.4 -3.2 -2.1 -0.9]",
        "6 x 4 gives 3 x 2",
        "0011110",
        "0110010",
        "Windows of 10 over 13 points: 3 rows",
        "-> 62",
        "-> 74",
        "-> 78",
    ],
)
def test_prints_the_number_of_the_slide(outcome: dict, printed: str) -> None:
    assert printed in outcome["text"]


def test_no_single_kernel_makes_the_printed_table(outcome: dict) -> None:
    assert {m["name"]: m["value"] for m in outcome["measured"]}[
        "one kernel for both windows, worst error"
    ] == pytest.approx(0.49, abs=0.005)


def test_forgetting(outcome: dict) -> None:
    left = {m["name"]: m["value"] for m in outcome["measured"] if "left after" in m["name"]}
    assert left["SimpleRNN: left after 50 steps"] < 1e-4
    assert left["LSTM, forget bias 1: left after 50 steps"] < 1e-4
    assert left["LSTM, forget bias 4: left after 50 steps"] > 0.5


def test_picture_is_saved(outcome: dict) -> None:
    (picture,) = outcome["pictures"]
    assert Path(picture).read_bytes().startswith(b"\x89PNG")
