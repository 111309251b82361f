"""Each lesson's main model: trained as the lesson does, against plain Keras with the batch and optimizer of the class.

    .venv/bin/python tests/benchmarks/lesson_pace.py [--pairs 3] [--backend NAME] [LESSON ...]

Same model and examples on both sides. Every figure is a process of its own, the two sides in turns; the first pass over
the examples, which compiles, is not timed. Writes lesson-pace.json and, from it, lesson-pace.md in docs/evidence/.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))
KEPT, PAGE = ROOT / "docs" / "evidence" / "lesson-pace.json", ROOT / "docs" / "evidence" / "lesson-pace.md"
BACKENDS = ("tensorflow", "torch", "jax")
CLASS = {
    "sign": (32, "adam"),
    "time-series": (40, "rmsprop"),
    "text-generation": (256, "rmsprop"),
    "text-classification": (32, "rmsprop"),
    "seq2seq": (64, "adam"),
    "attention": (32, "rmsprop"),
}
"""The class's examples a step and optimizer, read in its scripts (state of 2020-11-20)."""


def main_model(lesson: str) -> tuple[Callable[[], Any], Any, Any, int, str]:
    """(builds the model, inputs, targets, the lesson's examples a step, loss)."""
    import numpy as np

    rng, categorical = np.random.default_rng(0), "sparse_categorical_crossentropy"
    if lesson == "sign":
        from workshops.lessons.sign import page as sign

        images = rng.random((6000, 28, 28), np.float32)
        return lambda: sign.build("cnn"), images, rng.integers(0, 24, 6000), sign.BATCH, categorical
    if lesson == "time-series":
        from workshops.lessons.time_series import page as time_series

        windows = rng.normal(size=(4000, time_series.LOOK_BACK, 1)).astype(np.float32)
        return (
            lambda: time_series.build("lstm", time_series.LOOK_BACK),
            windows, windows[:, -1], time_series.BATCH, "mse",
        )  # fmt: skip
    if lesson == "text-generation":
        from workshops.data import human_numbers
        from workshops.lessons.text_generation import page as text_generation

        x, y = text_generation.examples(human_numbers.stream(), 32, 8)
        symbols = len(human_numbers.WORDS)
        return lambda: text_generation.build("lstm", symbols), x, y, text_generation.BATCH, categorical
    if lesson == "seq2seq":
        from workshops.data import addition
        from workshops.lessons.seq2seq import page as seq2seq

        sums, _ = addition.make(10_000, digits=seq2seq.DIGITS, reverse=True, seed=0).split()
        return (
            seq2seq.build_repeat,
            addition.one_hot(sums.questions),
            sums.answers,
            seq2seq.BATCH,
            categorical,
        )
    from workshops.data import sentiment_grammar as grammar
    from workshops.lessons.attention import page as attention
    from workshops.lessons.text_classification import page as text_classification

    known = grammar.make(8_000, length=text_classification.LENGTH, seed=0)
    if lesson == "attention":
        build: Callable[[], Any] = lambda: attention.build("additive")[0]  # noqa: E731
        return build, known.tokens, known.labels, attention.BATCH, "binary_crossentropy"
    reader: Callable[[], Any] = lambda: text_classification.build("lstm")  # noqa: E731
    return reader, known.tokens, known.labels, text_classification.BATCH, "binary_crossentropy"


def rate(lesson: str, ours: bool, passes: int = 3) -> float:
    """Examples a second over ``passes`` passes, after one that compiles."""
    import keras

    from workshops.lessons import catalog
    from workshops.player.outcome import LessonOptions
    from workshops.player.page import LessonPage

    build, x, y, batch, loss = main_model(lesson)
    keras.utils.set_random_seed(0)
    model = build()
    optimizer: Any = keras.optimizers.Adam(0.003, clipnorm=1.0)
    if not ours:
        batch, optimizer = CLASS[lesson]
    model.compile(optimizer, loss, metrics=["accuracy"] if loss != "mse" else None)
    page = LessonPage(catalog.find(lesson), LessonOptions(), out=io.StringIO(), progress=io.StringIO())

    def train(epochs: int) -> None:
        if ours:
            page.fit(model, x, y, epochs=epochs, batch_size=batch)
        else:
            model.fit(x, y, epochs=epochs, batch_size=batch, verbose=0)

    train(1)
    began = time.perf_counter()
    train(passes)
    return passes * len(y) / (time.perf_counter() - began)


def measured(lesson: str, backend: str, ours: bool) -> float:
    done = subprocess.run(
        [sys.executable, __file__, "--one", "ours" if ours else "class", lesson],
        capture_output=True, text=True, check=False,
        env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{lesson} on {backend}: {done.stderr[-1500:]}")
    return float(done.stdout.splitlines()[-1])


def render(kept: dict[str, dict[str, list[float]]]) -> str:
    lines = [
        "# Training speed of the lessons",
        "",
        "The training speed of each lesson's main model, compared with the same model in plain Keras with the batch",
        "size and the optimizer of the class's scripts. Figures are medians of examples/s. The two sides alternate,",
        "and each figure comes from a separate process, without a card. Above a ratio of 1 the lesson is faster.",
        "",
        "    .venv/bin/python tests/benchmarks/lesson_pace.py --pairs N     # N: the column `pairs`",
        "",
        "Single processes differ by about 10%, so a row with one pair is only an estimate. Rows were measured on",
        "different days and machines, all with two cores; both sides of a row were measured on the same machine.",
        "",
        "| lesson | backend | pairs | lesson, examples/s | class's settings, examples/s | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for key, sides in kept.items():
        ours, theirs = statistics.median(sides["ours"]), statistics.median(sides["class"])
        lesson, backend = key.split("/")
        lines.append(
            f"| {lesson} | {backend} | {len(sides['ours'])} | {ours:,.0f} | {theirs:,.0f} | {ours / theirs:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--backend", choices=BACKENDS)
    parser.add_argument("--one", choices=("ours", "class"), help=argparse.SUPPRESS)
    parser.add_argument("lessons", nargs="*", choices=[*CLASS, []])
    asked = parser.parse_args()
    if asked.one:
        print(rate(asked.lessons[0], asked.one == "ours"))
        return
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    for lesson in asked.lessons or CLASS:
        for backend in [asked.backend] if asked.backend else BACKENDS:
            sides: dict[str, list[float]] = {"ours": [], "class": []}
            for _ in range(asked.pairs):
                for side in sides:
                    sides[side].append(round(measured(lesson, backend, side == "ours"), 1))
            kept[f"{lesson}/{backend}"] = sides
            print(lesson, backend, sides, flush=True)
            KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
            PAGE.write_text(render(kept), encoding="utf-8")


if __name__ == "__main__":
    main()
