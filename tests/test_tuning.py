"""`dlbox tune`: what is tried, what is stored, and that nothing slower than the default ever is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.commands import tune as tune_command
from bench.measure.events import Evaluated, Event, Imported, TrainingJob, Tried
from bench.measure.runner import WorkerProblem
from bench.measure.workloads import WORKLOADS
from bench.results.record.figures import BatchPoint, Work
from bench.run import tune, tune_candidates
from bench.run.tune_candidates import TriedSetting
from tests.conftest import Command
from tests.frameworks import Framework
from workshops.speed import settings
from workshops.speed.settings import Setting, TunedEntry

USUAL = Setting(backend="tensorflow")
FAST = Setting(backend="torch", layers="fast")
XLA = Setting(backend="tensorflow", jit=True)
ENTRY = TunedEntry(
    setting=FAST, fingerprint="f", device="cpu", versions={"keras": "3.15.1", "torch": "2.13.0"},
    samples_per_second=500.0, default_samples_per_second=400.0, at="2026-11-25T00:00:00Z",
)  # fmt: skip


COUNTED = """
import msgspec, numpy as np, keras
from bench.measure.worker import rate, timing
from bench.measure.events import Block, Compiled, TrainingJob
from bench.measure.workloads import WORKLOADS

def model(steps):
    built = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    built.compile("sgd", "mse", steps_per_execution=steps)
    return built

work = msgspec.structs.replace(WORKLOADS["lstm"], batch_size=4, examples_before_judging=400)
seen, batches = {}, []
for steps in (1, 8, 32):
    events = []
    job = TrainingJob(workload=work, backend="x", train_seconds=0.001, block_seconds=0.0)
    clock = timing.timer(job, lambda m: None, events.append)
    x, y = np.ones((84, 3), "float32"), np.ones((84, 1), "float32")  # 21 batches: two calls of 8, one of 5
    built = model(steps)
    built.fit(x, y, batch_size=4, epochs=1000, verbose=0, callbacks=[clock])
    assert clock.seen == int(built.optimizer.iterations), (steps, clock.seen, int(built.optimizer.iterations))
    blocks = [event for event in events if isinstance(event, Block)]
    assert all(block.examples == 4 * block.steps for block in blocks)
    assert blocks[-1].examples_seen == 4 * clock.seen
    assert all(len(block.single_steps) in (0, block.steps) for block in blocks)
    assert any(block.single_steps for block in blocks)
    assert sum(isinstance(event, Compiled) for event in events) == 1
    seen[steps] = clock.seen
assert seen[1] == 100, seen
assert seen[8] == 100, seen  # four epochs of 21, then two calls of 8
assert seen[32] == 105, seen  # an epoch a call
assert rate.pipeline(model(8), x, y, 4, 0.5, lambda m: None) > 0
"""


class Worker:
    """Answers as a worker would: ``rates`` by setting, in turn; None is a crash. What is not named is slow.

    ``learned``: the accuracy of settings whose learning is asked for; NaN where the loss is.
    """

    def __init__(
        self, rates: dict[Setting, list[float | None]], learned: dict[Setting, float] | None = None
    ) -> None:
        self.rates, self.jobs, self.learned = rates, list[TrainingJob](), learned or {}

    @property
    def settings(self) -> list[Setting | None]:
        """At the workshop's batch, as they were tried."""
        return [job.setting for job in self.jobs if job.setting and not job.setting.batch_size]

    def __call__(self, job: TrainingJob, hear: Callable[[Event], None]) -> WorkerProblem | None:
        assert job.setting is not None
        self.jobs.append(job)
        hear(Imported(seconds=1, versions={"keras": "3"}, device="cpu", on_gpu=False, precision="float32"))
        if not job.batch_sizes:
            accuracy = self.learned.get(job.setting)
            if accuracy is None:
                return WorkerProblem(kind="error", message="the loss is no number")
            hear(
                Evaluated(
                    accuracy=0.5 if math.isnan(accuracy) else accuracy,
                    ceiling=None,
                    loss=None if math.isnan(accuracy) else 1,
                    test_examples=9,
                    examples_seen=9,
                    seconds=1,
                )
            )
            return None
        rate = self.rates[job.setting].pop(0) if job.setting in self.rates else 1.0
        if rate is None:
            return WorkerProblem(kind="crash", message="the worker was killed by SIGSEGV")
        hear(Tried(point=BatchPoint(batch_size=job.batch_sizes[0], samples_per_second=rate)))
        return None


def _tune(
    worker: Worker,
    tried: list[Setting] | None = None,
    *,
    workload: str = "lstm",
    deadline: float = 1e9,
    clock: Callable[[], float] = lambda: 0.0,
) -> tune.TuningResult:
    done, _ = tune.tune(
        WORKLOADS[workload],
        tried or list(worker.rates),
        deadline=deadline,
        say=lambda _: None,
        run=worker,
        clock=clock,
    )
    return done


def test_the_fastest_is_chosen_and_the_default_measured_again() -> None:
    worker = Worker({USUAL: [400.0, 410.0], FAST: [530.0], XLA: [300.0]})
    done = _tune(worker)
    assert (done.best, done.samples_per_second, done.default_samples_per_second) == (FAST, 530.0, 410.0)
    assert worker.settings == [USUAL, FAST, XLA, USUAL]
    assert {job.batch_sizes for job in worker.jobs} == {(32,), (64,)}


def test_a_lucky_figure_does_not_beat_a_default_that_was_slow_once() -> None:
    assert _tune(Worker({USUAL: [300.0, 520.0], FAST: [530.0]})).best == USUAL


def test_the_fastest_is_tried_with_several_batches_a_call() -> None:
    several = [msgspec.structs.replace(XLA, steps_per_execution=steps) for steps in tune_candidates.STEPS]
    rates: dict[Setting, list[float | None]] = {
        USUAL: [400.0, 400.0],
        XLA: [500.0],
        several[0]: [560.0],
        several[1]: [530.0],
    }
    worker = Worker(rates)
    done, _ = tune.tune(
        WORKLOADS["gru"], [USUAL, XLA], deadline=1.0, say=lambda _: None, run=worker, clock=lambda: 0
    )
    assert done.best == several[0]
    assert "8 steps a call" in several[0].summary
    assert worker.settings == [USUAL, XLA, *several, USUAL]
    given_up = [job.give_up_below for job in worker.jobs]
    assert given_up == pytest.approx([0.0, 280.0, 350.0, 392.0, 392.0, 0.0])


def test_what_is_near_the_fastest_may_win_with_several_batches_a_call() -> None:
    """Keras on torch takes one batch a call."""
    several = [msgspec.structs.replace(XLA, steps_per_execution=steps) for steps in tune_candidates.STEPS]
    assert FAST.backend == "torch"
    worker = Worker(
        {USUAL: [300.0, 300.0], FAST: [500.0], XLA: [450.0], several[0]: [560.0], several[1]: [530.0]}
    )
    done, _ = tune.tune(
        WORKLOADS["gru"], [USUAL, FAST, XLA], deadline=1.0, say=lambda _: None, run=worker, clock=lambda: 0
    )
    assert (done.best, done.samples_per_second) == (several[0], 560.0)


def at(size: int) -> Setting:
    return msgspec.structs.replace(FAST, batch_size=size)


def test_layers_of_other_kernels_are_not_tried_where_nothing_recurs() -> None:
    class Convolutional(Worker):
        def __call__(self, job: TrainingJob, hear: Callable[[Event], None]) -> WorkerProblem | None:
            def told(event: Event) -> None:
                work = Work(flop_per_sample=1.0, bytes_per_sample=1.0, recurrent_steps=0)
                hear(msgspec.structs.replace(event, work=work) if isinstance(event, Imported) else event)

            return super().__call__(job, told)

    worker = Convolutional({USUAL: [400.0], FAST: [500.0], XLA: [300.0]})
    assert _tune(worker).best == USUAL
    assert FAST not in worker.settings
    assert XLA in worker.settings


def test_what_may_learn_otherwise_does_not_count_where_learning_is_not_judged() -> None:
    worker = Worker({USUAL: [400.0, 400.0], FAST: [500.0], at(64): [900.0]}, {at(64): 0.5})
    done = _tune(worker, [USUAL, FAST], workload="deep-lstm-faithful")
    assert done.best == FAST
    told = {one.setting: one for one in done.tried}
    assert "no minimum accuracy" in told[at(64)].why


def test_a_larger_batch_is_taken_as_long_as_the_model_learns_with_it() -> None:
    rates: dict[Setting, list[float | None]] = {
        USUAL: [400.0, 400.0],
        FAST: [500.0],
        at(64): [600.0],
        at(128): [900.0],
        at(256): [2000.0],
    }
    worker = Worker(rates, {at(64): 0.8, at(128): 0.76, at(256): 0.6})
    done = _tune(worker, [USUAL, FAST])
    assert (done.best, done.samples_per_second) == (at(128), 900.0)
    told = {one.setting: one for one in done.tried}
    assert told[at(128)].accuracy == 0.76
    assert told[at(256)].why == "accuracy 0.600 is below the minimum of 0.75"
    assert "batch 128" in at(128).summary
    looked = next(job for job in worker.jobs if not job.batch_sizes and job.workload.batch_size == 128)
    assert looked.workload.learning_rate == pytest.approx(2 * WORKLOADS["lstm"].learning_rate)


def test_a_batch_that_gains_little_is_not_asked_whether_it_learns() -> None:
    worker = Worker({USUAL: [400.0, 400.0], FAST: [500.0], at(64): [540.0]}, {at(64): 0.9})
    done = _tune(worker, [USUAL, FAST])
    assert done.best == FAST
    assert "less than 10% faster" in next(one.why for one in done.tried if one.setting == at(64))
    assert all(job.batch_sizes for job in worker.jobs)


def test_other_numbers_count_where_the_model_learns_with_them() -> None:
    half, brain = (
        msgspec.structs.replace(USUAL, precision=name) for name in ("mixed_float16", "mixed_bfloat16")
    )
    rates: dict[Setting, list[float | None]] = {USUAL: [400.0, 400.0], half: [900.0], brain: [800.0]}
    done, _ = tune.tune(
        WORKLOADS["cnn"], [USUAL], deadline=1.0, say=lambda _: None, clock=lambda: 0, on_gpu=True,
        run=Worker(rates, {brain: 0.9}),
    )  # fmt: skip
    assert (done.best, done.samples_per_second) == (brain, 800.0)
    assert "the loss is no number" in next(one.why for one in done.tried if one.setting == half)


def test_a_setting_with_a_nan_loss_does_not_count_and_is_reported() -> None:
    worker = Worker({USUAL: [400.0, 400.0], FAST: [500.0], at(64): [700.0]}, {at(64): math.nan})
    done = _tune(worker, [USUAL, FAST])
    assert done.best == FAST
    assert {one.why for one in done.tried if one.setting == at(64)} == {"training diverged (the loss is NaN)"}


def test_numbers_are_tried_that_the_device_has_units_for() -> None:
    def names(setting: Setting, on_gpu: bool, *flags: str) -> list[str | None]:
        return [one.precision for one in tune_candidates.precisions(setting, on_gpu, flags)]

    assert names(USUAL, True) == ["mixed_float16", "mixed_bfloat16"]
    assert names(FAST, True) == ["tf32", "mixed_float16", "mixed_bfloat16"]
    assert names(FAST, False, "avx2", "fma") == []
    assert names(USUAL, False, "avx512_bf16") == ["mixed_bfloat16"]
    assert {one.layers for one in tune_candidates.precisions(FAST, True, ())} == {"stock"}


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])  # Keras on torch takes one a call
def test_several_batches_a_call_are_counted_as_what_they_are(
    backend: str, frameworks: Callable[[str], Framework]
) -> None:
    done = frameworks(backend).run(COUNTED)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_crash_is_reported_and_the_other_settings_still_run() -> None:
    done = _tune(Worker({USUAL: [400.0, 400.0], XLA: [None], FAST: [500.0]}))
    assert done.best == FAST
    assert done.tried[1].why == "the worker was killed by SIGSEGV"


def test_an_interrupt_keeps_what_was_measured_until_then() -> None:
    class Interrupted(Worker):
        def __call__(self, job: TrainingJob, hear: Callable[[Event], None]) -> WorkerProblem | None:
            if job.setting == XLA:
                raise KeyboardInterrupt
            return super().__call__(job, hear)

    done = _tune(Interrupted({USUAL: [400.0], FAST: [500.0], XLA: [300.0]}))
    assert done.interrupted
    assert (done.best, done.samples_per_second) == (FAST, 500.0)
    assert "interrupted" in done.why
    nothing = _tune(Interrupted({XLA: [300.0]}))
    assert nothing.interrupted
    assert (nothing.tried, nothing.best) == ((), None)


def test_an_interrupted_command_stores_the_best_setting_and_reports_it(
    monkeypatch: pytest.MonkeyPatch, own_data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Imported(seconds=1, versions={"keras": "3"}, device="cpu", on_gpu=False, precision="float32")
    part = tune.TuningResult(
        workload="lstm", tried=(TriedSetting(setting=FAST, samples_per_second=500.0),), best=FAST,
        samples_per_second=500.0, default_samples_per_second=400.0, interrupted=True,
    )  # fmt: skip
    monkeypatch.setattr(tune, "tune", lambda *_, **__: (part, told))
    said: list[str] = []
    code = tune_command.run(
        workloads=("lstm", "gru"), suite="ready", minutes=1, as_json=True, complain=said.append
    )
    assert code == 130
    assert settings.read(own_data_folder / "dlbox" / "tuned.json").entries["lstm"].setting == FAST
    assert [one["workload"] for one in json.loads(capsys.readouterr().out)["results"]] == ["lstm"]
    assert "interrupted" in said[0]


def test_where_nothing_runs_nothing_is_chosen() -> None:
    assert _tune(Worker({USUAL: [None], FAST: [None]})).best is None


def test_the_default_is_measured_even_when_time_is_up() -> None:
    done = _tune(Worker({USUAL: [400.0], FAST: [500.0]}), deadline=0.0)
    assert done.best == USUAL
    assert "--minutes" in done.why


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=2), st.lists(st.floats(1, 1e6), max_size=4))
def test_nothing_slower_than_the_default_is_ever_chosen(usual: list[float], others: list[float]) -> None:
    tried = [TriedSetting(setting=USUAL, samples_per_second=rate) for rate in usual]
    tried += [TriedSetting(setting=FAST, samples_per_second=rate) for rate in others]
    best, rate, default = tune_candidates.choose(tried)
    assert default == max(usual)
    assert rate is not None
    assert rate >= max(usual)
    assert best == USUAL or rate > max(usual)


def test_fast_layers_are_a_matter_of_torch_on_a_processor() -> None:
    assert FAST in tune_candidates.candidates(["tensorflow", "torch", "jax"], on_gpu=False)
    on_card = tune_candidates.candidates(["tensorflow", "torch", "jax"], on_gpu=True)
    assert {setting.layers for setting in on_card} == {"stock"}
    assert tune_candidates.candidates(["jax"], on_gpu=False) == [Setting(backend="jax")]
    assert tune_candidates.candidates(["tensorflow", "torch"], on_gpu=False)[0] == USUAL


def test_stored_settings_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "tuned.json"
    assert settings.read(path).entries == {}
    settings.store("lstm", ENTRY, path)
    settings.store("gru", ENTRY, path)
    assert settings.read(path).entries == {"lstm": ENTRY, "gru": ENTRY}
    assert [p.name for p in path.parent.iterdir()] == ["tuned.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"entries": 3}', '{"schema_version": 99}', "\x00"])
def test_a_damaged_file_is_reported_and_not_changed(text: str, tmp_path: Path) -> None:
    path = tmp_path / "tuned.json"
    path.write_text(text)
    with pytest.raises(settings.TunedSettingsError, match="remove the file"):
        settings.store("lstm", ENTRY, path)
    assert path.read_text() == text


def test_an_entry_of_elsewhere_does_not_count() -> None:
    here = {"keras": "3.15.1", "torch": "2.13.0", "jax": "0.10.2"}
    assert settings.stale(ENTRY, fingerprint="f", device="cpu", versions=here) == ""
    assert "workload" in settings.stale(ENTRY, fingerprint="g", device="cpu", versions=here)
    assert "this is gpu" in settings.stale(ENTRY, fingerprint="f", device="gpu", versions=here)
    newer = {**here, "torch": "2.14.0"}
    assert "torch 2.13.0; installed: 2.14.0" in settings.stale(
        ENTRY, fingerprint="f", device="cpu", versions=newer
    )


def test_an_unknown_model_is_a_wrong_call(dlbox: Command) -> None:
    done = dlbox("tune", "--workload", "lstn")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the workloads are lstm" in done.stderr


def test_a_damaged_file_ends_the_command_before_anything_is_trained(
    dlbox: Command, own_data_folder: Path
) -> None:
    (own_data_folder / "dlbox").mkdir(parents=True)
    (own_data_folder / "dlbox" / "tuned.json").write_text("{")
    done = dlbox("tune", "--workload", "lstm", "--json")
    assert done.returncode == 1
    assert "tuned.json" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_real_tuning_stores_what_it_found(dlbox: Command, own_data_folder: Path) -> None:
    done = dlbox("tune", "--workload", "cnn", "--minutes", "0.01", "--json", timeout=600)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["results"][0]
    stored = settings.read(own_data_folder / "dlbox" / "tuned.json").entries["cnn"]
    assert stored.samples_per_second == told["samples_per_second"] > 0
