"""Lessons train with the settings that `dlbox tune` stored, if they are valid here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bench.measure.workloads import WORKLOADS
from tests.conftest import ROOT
from workshops.commands import start
from workshops.lessons import catalog
from workshops.player import backend
from workshops.player.expected import Lesson
from workshops.player.outcome import LessonError, LessonOptions
from workshops.speed import settings, tuned
from workshops.speed.settings import Setting, TunedEntry

ENTRY = TunedEntry(
    setting=Setting(backend="jax", steps_per_execution=8), fingerprint="f", device=f"CPU, {os.cpu_count()} threads",
    versions=settings.installed("jax"), samples_per_second=500.0, default_samples_per_second=400.0,
    at="2026-11-25T00:00:00Z",
)  # fmt: skip

TRAINED = """
import sys, keras, numpy as np
from workshops.lessons.text_classification import page as text_classification
from workshops.commands.start import open_page
page = open_page("text-classification")
model = text_classification.build("lstm", length=6)
model.compile("adam", "binary_crossentropy")
page.fit(model, np.ones((64, 6), "int32"), np.ones((64, 1)), epochs=1, batch_size=4)
print("STEPS", model.steps_per_execution)
"""


def test_the_stored_setting_of_a_lesson_model() -> None:
    workload = catalog.find("text-classification").workload("bidirectional")
    assert tuned.stored_setting(workload) is None
    settings.store("bilstm", ENTRY)
    assert tuned.stored_setting(workload) == ENTRY.setting
    assert tuned.stored_setting(catalog.find("sign").workload("bidirectional")) is None


@pytest.mark.parametrize(
    "changes",
    [{"device": "CPU, 999 threads"}, {"versions": {"keras": "3.0.0"}}, {"versions": {"jax": "0.1"}}],
)
def test_a_setting_of_another_machine_is_not_used(changes: dict[str, object]) -> None:
    settings.store("lstm", msgspec.structs.replace(ENTRY, **changes))
    assert tuned.stored_setting("lstm") is None


def test_the_backend_asked_for_takes_precedence_over_the_stored_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "installed", lambda: ["tensorflow", "jax"])
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert backend.choose_backend(None, "jax") == "jax"
    assert backend.choose_backend("tensorflow", "jax") == "tensorflow"
    assert backend.choose_backend(None, "torch") == "tensorflow"
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert backend.choose_backend(None, "jax") == "tensorflow"


def test_a_damaged_file_is_one_sentence(own_data_folder: Path) -> None:
    (own_data_folder / "dlbox").mkdir(parents=True)
    (own_data_folder / "dlbox" / "tuned.json").write_text("{")
    with pytest.raises(LessonError, match="remove the file"):
        start.start("text-classification", LessonOptions(model="lstm"))


@pytest.mark.parametrize("lesson", catalog.lessons(), ids=lambda lesson: lesson.name)
def test_the_workloads_of_a_lesson_name_its_models_and_the_benchmark_s_workloads(lesson: Lesson) -> None:
    for model, workload in lesson.workloads:
        assert model in {*lesson.models, *lesson.cells}
        assert workload in WORKLOADS


def test_a_lesson_trains_with_the_stored_setting_and_reports_it() -> None:
    settings.store("lstm", ENTRY)
    done = subprocess.run(
        [sys.executable, "-c", TRAINED], capture_output=True, text=True, check=True, cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )  # fmt: skip
    assert "STEPS 8" in done.stdout
    assert "8 steps a call" in " ".join(done.stdout.split())


PRECISE = """
import keras
from workshops.lessons.text_classification import page as text_classification
from workshops.speed import precision, tuned
from workshops.speed.settings import Setting

chosen = Setting(backend="jax", precision="mixed_bfloat16", batch_size=256)
with precision.using(chosen.precision):
    inside = text_classification.build("lstm", length=6)
    used = tuned.apply(inside, chosen)
outside = text_classification.build("lstm", length=6)
print([layer.compute_dtype for layer in (inside.get_layer("reader"), outside.get_layer("reader"))])
print(used.summary, "|", tuned.apply(outside, chosen).summary)
"""


def test_the_precision_is_that_of_the_build_and_the_batch_size_that_of_the_lesson() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRECISE], capture_output=True, text=True, check=True, cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )  # fmt: skip
    dtypes, used = done.stdout.splitlines()
    assert dtypes == "['bfloat16', 'float32']"
    assert used == "jax, stock layers, mixed_bfloat16 | jax, stock layers"
