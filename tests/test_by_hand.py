"""The lesson `by-hand` prints the numbers of the slides; each formula equals its Keras layer on every backend."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.frameworks import Framework
from workshops.data.slides import SERIES
from workshops.lessons import catalog

RUN = """
import io, json, os, sys
from pathlib import Path
os.environ["XDG_CACHE_HOME"] = sys.argv[2]
from workshops.player.outcome import LessonOptions
from workshops.commands.start import start
text = io.StringIO()
outcome = start(sys.argv[1], LessonOptions(output=Path(sys.argv[2]), quick=True), backend=sys.argv[3], out=text)
print("\\x1e" + json.dumps({**outcome.document(), "text": text.getvalue()}))
"""


@pytest.fixture(scope="module", params=["tensorflow", "torch", "jax"])
def outcome(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    frameworks: Callable[[str], Framework],
) -> dict:
    """The result of the lesson on one backend, and its text."""
    folder = tmp_path_factory.mktemp("by-hand")
    done = frameworks(request.param).run(RUN, "by-hand", str(folder), request.param)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.rpartition("\x1e")[2])


def test_each_numpy_formula_equals_its_keras_layer(outcome: dict) -> None:
    compared = {m["name"]: m["value"] for m in outcome["measured"] if m["expected"]}
    assert set(compared) == {e.name for e in catalog.find("by-hand").expected}
    assert outcome["ok"], compared


LINES = {
    "One recurrent neuron": [
        "0.2 x 0.4 + 0.4 x 3 = 1.28",
        "tanh(1.28) = 0.8565",
        "Keras: 0.8565",
    ],
    "A state of several numbers": [
        "1 x 0.1 + 2 x 0.2 = 0.50",
        "1 x 0.3 + 2 x -0.1 = 0.10",
        "0.5 x 0.4 + -0.5 x -0.6 = 0.50",
        "0.5 x 0.2 + -0.5 x 0.8 = -0.30",
        "x W + h U + b = [ 1.  -0.1]",
        "h' = tanh(x W + h U + b) = [ 0.7616 -0.0997]",
        "Keras: [ 0.7616 -0.0997]",
    ],
    "The LSTM cell": [
        "c            f       i        g  c' = f c + i g",
        "0.0000  0.5000  0.6000   0.2000          0.1200",
        "0.0000  0.9000  0.3000  -0.5000         -0.1500",
        "1.0000  1.0000  0.0000   0.6000          1.0000",
        "0.5 x 0 + 0.6 x 0.2 = 0.12",
        "0.9 x 0 + 0.3 x -0.5 = -0.15",
        "1 x 1 + 0 x 0.6 = 1.00",
    ],
    "Hard sigmoid": ["1.0000    0.7311                     0.6667                0.7000"],
    "The GRU cell, as on the slide": [
        "(1 - 0.5744) x 0.5 + 0.5744 x 0.7060 = 0.6183",
        "Keras with reset_after=False and 1 - z in place of z: [ 0.6183 -0.4112]",
    ],
    "The GRU cell, as in Keras": [
        "0.5744 x 0.5 + (1 - 0.5744) x 0.6911 = 0.5813",
        "Keras: [ 0.5813 -0.4134]",
    ],
    "LSTM and GRU compared": [
        "LSTM: 4 (15 + 25 + 5) = 180",
        "GRU of the books: 3 (15 + 25 + 5) = 135",
        "GRU of Keras, two biases: 3 (15 + 25 + 10) = 150",
    ],
    "Convolution: I love this movie": [
        "window 1: 0.2000 0.3000 0.2000, bias 0.0000, determinant 87.5",
        "window 2: 0.3000 0.3000 0.1000, bias 0.0000, determinant 271.3",
        "kernel A, window 1: [ 2.85  5.26 -3.36 -1.02], summed 3.73",
        "kernel A, window 2: [ 1.81 -1.12 -4.49 -0.89], summed -4.69",
        "kernel B, window 1: [ 2.96  8.12 -3.21 -1.17], summed 6.70",
        "kernel B, window 2: [ 2.74 -0.26 -4.44 -0.82], summed -2.78",
    ],
    "Max pooling, size 2": [
        "words 1 and 2: [ 9.7 23.4 -0.6 -1.2]",
        "words 3 and 4: [ 0.4 -3.2 -2.1 -0.9]",
        "MaxPooling2D(2) on 6 x 4 gives 3 x 2",
    ],
    "Words and windows as numbers": [
        "I      1 0 0 0 0 0",
        "love   0 1 0 0 0 0",
        "this   0 0 1 0 0 0",
        "movie  0 0 0 1 0 0",
        "hated  0 0 0 0 1 0",
        "bad    0 0 0 0 0 1",
        "0011110  'I love this movie'; word numbers in order: [3, 4, 5, 6]",
        "0110010  'I hated movie'; word numbers in order: [3, 2, 6]",
        "Windows of 10 over 13 points: 3 rows",
    ],
}
"""Heading -> whole lines of its section, in their order: the numbers of the slides."""


def section(text: str, heading: str) -> list[str]:
    """The lines below ``heading``, without indentation, up to the next heading."""
    lines = text.split("\n")
    start = next(i for i, line in enumerate(lines) if line == heading and set(lines[i + 1]) == {"-"})
    end = next(
        (i for i in range(start + 2, len(lines) - 1) if lines[i + 1] and set(lines[i + 1]) == {"-"}),
        len(lines),
    )
    return [line.strip() for line in lines[start + 2 : end]]


@pytest.mark.parametrize("heading", LINES)
def test_each_section_prints_the_numbers_of_its_slide_in_order(outcome: dict, heading: str) -> None:
    lines, position = section(outcome["text"], heading), -1
    for line in LINES[heading]:
        assert line in lines[position + 1 :], f"{line!r} is not in its place in {lines}"
        position = lines.index(line, position + 1)


def test_the_windows_of_the_series_have_the_labels_of_the_slide(outcome: dict) -> None:
    lines = section(outcome["text"], "Words and windows as numbers")
    rows = [line.partition(" -> ") for line in lines if " -> " in line]
    series = [float(v) for v in rows[0][0].split()] + [float(row[2]) for row in rows]
    assert series == list(SERIES)
    assert [[float(v) for v in row[0].split()] for row in rows] == [
        list(SERIES[i : i + 10]) for i in range(3)
    ]


def test_no_single_kernel_makes_the_printed_table(outcome: dict) -> None:
    assert {m["name"]: m["value"] for m in outcome["measured"]}[
        "one kernel for both windows, worst error"
    ] == pytest.approx(0.49, abs=0.005)


def test_only_an_open_forget_gate_keeps_a_change_over_50_steps(outcome: dict) -> None:
    left = {m["name"]: m["value"] for m in outcome["measured"] if "left after" in m["name"]}
    assert left["SimpleRNN: left after 50 steps"] < 1e-4
    assert left["LSTM, forget bias 1: left after 50 steps"] < 1e-4
    assert left["LSTM, forget bias 4: left after 50 steps"] > 0.5


def test_picture_is_saved(outcome: dict) -> None:
    (picture,) = outcome["pictures"]
    assert Path(picture).read_bytes().startswith(b"\x89PNG")


gru = pytest.importorskip("workshops.lessons.by_hand.gru")
lstm = pytest.importorskip("workshops.lessons.by_hand.lstm")


def slow_gru(x: list[float], h: list[float], weights: list[np.ndarray], *, slide: bool) -> list[float]:
    """The printed equations once more, one number at a time; weights (inputs or units, 3 x units), one bias."""
    kernel, recurrent, bias = weights
    units = len(h)

    def weighed(gate: int, unit: int, state: list[float]) -> tuple[float, float]:
        column = gate * units + unit
        into = sum(a * kernel[i, column] for i, a in enumerate(x)) + bias[column]
        return into, sum(a * recurrent[i, column] for i, a in enumerate(state))

    def gate(number: int, unit: int) -> float:
        return 1 / (1 + math.exp(-sum(weighed(number, unit, h))))

    r = [gate(1, unit) for unit in range(units)]
    new = []
    for unit in range(units):
        z = gate(0, unit)
        if slide:
            candidate = math.tanh(sum(weighed(2, unit, [a * b for a, b in zip(r, h, strict=True)])))
            new.append((1 - z) * h[unit] + z * candidate)
        else:
            into, state = weighed(2, unit, h)
            new.append(z * h[unit] + (1 - z) * math.tanh(into + r[unit] * state))
    return new


@given(seed=st.integers(0, 10_000), inputs=st.integers(1, 4), units=st.integers(1, 5))
def test_both_forms_of_the_gru_are_their_equations(seed: int, inputs: int, units: int) -> None:
    rng = np.random.default_rng(seed)
    x, h = rng.normal(size=inputs), rng.normal(size=units)
    one = [
        rng.normal(size=(inputs, 3 * units)),
        rng.normal(size=(units, 3 * units)),
        rng.normal(size=3 * units),
    ]
    two = [*one[:2], np.stack([one[2], np.zeros(3 * units)])]
    slide = gru.slide_gru_step(x[None], h[None], one)[0]
    assert slide == pytest.approx(slow_gru(x.tolist(), h.tolist(), one, slide=True))
    usual = gru.gru_step(x[None], h[None], two)[0]
    assert usual == pytest.approx(slow_gru(x.tolist(), h.tolist(), one, slide=False))
    # Without a reset (r = 1) the two differ in the meaning of z alone.
    open_reset = [w.copy() for w in one]
    open_reset[2][units : 2 * units] = 1000
    turned = gru.complement(open_reset)
    twice = [*turned[:2], np.stack([turned[2], np.zeros(3 * units)])]
    same = gru.slide_gru_step(x[None], h[None], open_reset)
    assert gru.gru_step(x[None], h[None], twice) == pytest.approx(same)


@pytest.mark.parametrize(
    ("x", "now", "then"),
    [(1, 2 / 3, 0.7), (0, 0.5, 0.5), (2.5, 5.5 / 6, 1), (3, 1, 1), (-2.5, 0.5 / 6, 0), (-3, 0, 0), (9, 1, 1)],
)
def test_hard_sigmoid_now_and_then(x: float, now: float, then: float) -> None:
    import keras

    assert lstm.keras_3(np.array(x)) == pytest.approx(now)
    assert lstm.keras_2(np.array(x)) == pytest.approx(then)
    given = keras.ops.convert_to_tensor(np.array([x], np.float32))
    assert keras.ops.convert_to_numpy(keras.activations.hard_sigmoid(given))[0] == pytest.approx(
        now, abs=1e-6
    )
    assert keras.ops.convert_to_numpy(lstm.keras_2_now(given))[0] == pytest.approx(then, abs=1e-6)


def test_a_run_has_the_order_of_the_notebook(outcome: dict) -> None:
    places = [outcome["text"].index(f"\n{heading}\n-") for heading in (
        "One recurrent neuron", "A state of several numbers", "The LSTM cell", "Hard sigmoid",
        "Why simple RNNs forget", "The GRU cell, as on the slide", "LSTM and GRU compared",
    )]  # fmt: skip
    assert places == sorted(places)
