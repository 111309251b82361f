"""Training on several devices: the option --devices, the result, and the real engine of each backend."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import scenario
from samples import document, machine, result

from bench.finding import Status
from bench.judge import scaling
from bench.measure import runner
from bench.measure.events import Block, Devices, Event, Replicas, TrainingJob
from bench.measure.worker import parallel
from bench.measure.workloads import WORKLOADS
from bench.results.record.document import from_json, to_json
from bench.results.record.figures import Scaling
from bench.results.report import charts
from bench.results.stats import compare, derived
from bench.results.store import validate
from inventory.machine.gpu_records import Gpu
from inventory.machine.reading import Reading
from inventory.machine.records import Machine
from tests.conftest import ROOT, Command
from workshops.speed.settings import Setting


def several(*rates: float, count: int = 2, differ: float | None = 0.0, **changes: Any) -> Any:
    made = Scaling(
        engine="an engine",
        devices=tuple(f"gpu:{n}" for n in range(count)),
        batch_per_device=32,
        replicas_differ_by=differ,
    )
    usual = {"on_gpu": True, "devices": count, "scaling": made, "batch_size": 32 * count}
    return result("lstm", *rates, **{**usual, **changes})


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (None, None),
        ("all", Devices(kind="cpu", count=1)),
        ("cpu:2", Devices(kind="cpu", count=2)),
        ("CPU:1", Devices(kind="cpu", count=1)),
    ],
)
def test_devices_option_without_a_card(asked: str | None, found: Devices | None) -> None:
    assert scaling.resolve(asked, machine()) == found


@pytest.mark.parametrize(("asked", "count"), [("all", 1), ("1", 1), ("gpu:1", 1), ("gpu:all", 1)])
def test_devices_option_with_a_card(asked: str, count: int, tmp_path: Path) -> None:
    here = scenario.load("rtx3060_idle").machine(tmp_path)
    assert scaling.resolve(asked, here) == Devices(kind="gpu", count=count)


@pytest.mark.parametrize(
    "asked", ["", "0", "-1", "two", "tpu:2", "cpu:", "cpu:x", "0,1", "cpu:99", "3", "\u0662", "9" * 5000]
)
def test_an_invalid_devices_option_gives_one_sentence(asked: str) -> None:
    with pytest.raises(scaling.DevicesError) as told:
        scaling.resolve(asked, machine())
    assert "--devices" in str(told.value)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 200


def test_more_cards_than_present_are_refused(tmp_path: Path) -> None:
    here = scenario.load("rtx3060_idle").machine(tmp_path)
    with pytest.raises(scaling.DevicesError, match="--devices 2 needs 2 cards, but this machine has 1"):
        scaling.resolve("2", here)


@pytest.mark.parametrize(
    "dead", ["no_driver", "module_not_loaded", "nouveau_bound", "crash_at_start", "lost_handle"]
)
def test_all_of_cards_that_cannot_be_used_is_refused(dead: str, tmp_path: Path) -> None:
    here = scenario.load(dead).machine(tmp_path)
    with pytest.raises(scaling.DevicesError, match="dlbox check") as told:
        scaling.resolve("all", here)
    assert "\n" not in str(told.value)
    assert scaling.resolve("cpu:2", here) == Devices(kind="cpu", count=2)


def box(cards: int, usable: int | None = None) -> Machine:
    handles = [Reading.of(True)] * cards
    if usable is not None:
        handles[usable:] = [Reading.failed("lost", 15)] * (cards - usable)
    return machine(gpus=tuple(Gpu(index=n, handle=handle) for n, handle in enumerate(handles)))


@pytest.mark.parametrize(
    ("asked", "here", "status", "words"),
    [
        ("all", box(0), "skip", "no NVIDIA card"),
        ("all", box(1), "skip", "one card"),
        ("GPU:all", box(1), "skip", "--devices cpu:2"),
        ("all", box(2), "pass", "2 cards"),
        ("all", box(3, usable=2), "warn", "2 of 3 cards"),
        ("all", box(2, usable=1), "warn", "1 of 2 cards"),
    ],
)
def test_the_number_behind_all_is_printed(asked: str, here: Machine, status: str, words: str) -> None:
    (found,) = scaling.judge_choice(asked, scaling.resolve(asked, here), here)
    assert (found.status, words in found.message) == (Status(status), True)


@pytest.mark.parametrize("asked", [None, "1", "cpu:2"])
def test_nothing_is_printed_for_an_explicit_number(asked: str | None) -> None:
    assert scaling.judge_choice(asked, scaling.resolve(asked, box(1)), box(1)) == []


def test_efficiency_is_the_speed_relative_to_single_devices() -> None:
    made = scaling.against_one(several(700.0, 700.0, 700.0), result("lstm", 400.0, 400.0, 400.0)).scaling
    assert made is not None
    assert made.speedup == pytest.approx(1.75)
    assert made.efficiency == pytest.approx(0.875)
    assert made.one_device_samples_per_second == pytest.approx(400)


@pytest.mark.parametrize(
    ("rates", "on_gpu", "status"),
    [((700.0, 701.0), True, "pass"), ((300.0, 301.0), True, "warn"), ((300.0, 301.0), False, "skip")],
)
def test_the_verdict_on_scaling(rates: tuple[float, ...], on_gpu: bool, status: str) -> None:
    made = scaling.against_one(several(*rates, on_gpu=on_gpu), result("lstm", 400.0, 401.0))
    found = {f.id: f.status for f in scaling.judge(made)}
    assert found == {
        "training.lstm-2-devices-replicas": Status.PASS,
        "training.lstm-2-devices-scaling": Status(status),
    }


@pytest.mark.parametrize(
    "made",
    [
        several(700.0, differ=1e-3),
        several(700.0, differ=float("nan")),
        several(700.0, differ=None),
        several(700.0, scaling=None),
        several(700.0, count=2, scaling=Scaling(engine="an engine", devices=("gpu:0", "gpu:0"), batch_per_device=32,
                                                replicas_differ_by=0.0)),
    ],
    ids=["apart", "nan", "no-number", "nothing-said", "one-device-twice"],
)  # fmt: skip
def test_devices_that_do_not_train_one_model_fail(made: Any) -> None:
    found = {f.id: f.status for f in scaling.judge(scaling.against_one(made, result("lstm", 400.0)))}
    assert found["training.lstm-2-devices-replicas"] is Status.FAIL


def test_one_device_has_no_scaling_to_judge() -> None:
    assert scaling.judge(result()) == []


def test_an_interrupted_run_is_reported_as_such() -> None:
    assert scaling.judge(several(700.0, scaling=None, partial=True)) == []


@pytest.mark.parametrize("differences", [[math.nan, 0.0], [0.0, math.nan], [0.0, math.inf]])
def test_nan_weights_are_reported(differences: list[float]) -> None:
    told = Replicas(engine="e", devices=("cpu:0",), differ_by=parallel.largest_difference(differences))
    assert told.differ_by is None
    assert msgspec.json.decode(msgspec.json.encode(told), type=Replicas) == told


def test_a_document_with_nan_difference_is_valid_json() -> None:
    made = document(results=(several(700.0, differ=None, diverged=True),))
    text = to_json(made)
    assert "NaN" not in text
    assert from_json(text) == made
    assert validate.fault(made) is None


def test_the_largest_difference_counts() -> None:
    assert parallel.largest_difference([0.0, 0.25, 0.125]) == 0.25
    assert parallel.largest_difference([]) == 0.0


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"devices": 2}, "different number of devices: 1 in A, 2 in B"),
        ({"setting": Setting(backend="tensorflow", layers="fast")}, "different setting: tensorflow, stock layers in A"),
        ({"setting": Setting(backend="tensorflow", jit=True)}, "different setting"),
        ({"batch_size": 64}, "different batch size"),
    ],
)  # fmt: skip
def test_compare_distinguishes_devices_and_settings(other: dict[str, Any], why: str) -> None:
    assert why in (compare.refusal(result(), result(**other)) or "")


def test_the_default_setting_equals_no_setting() -> None:
    assert compare.refusal(result(), result(setting=Setting(backend="tensorflow"))) is None


def test_peaks_scale_with_cards_but_not_with_virtual_devices() -> None:
    from bench.results.record.figures import Probes, Work

    work = Work(flop_per_sample=1e9, bytes_per_sample=1e6)
    for on_gpu, share in ((True, 0.35), (False, 0.7)):
        probes = Probes(backend="tensorflow", device="x", on_gpu=on_gpu, matmul_tflops={"fp32": 1.0})
        made = derived.with_figures(several(700.0, on_gpu=on_gpu, work=work), probes=probes)
        assert made.share_of_measured_peak == pytest.approx(share)


def test_the_device_name_has_the_number() -> None:
    assert several(1.0).label == "lstm-2-devices"
    assert charts.label(several(1.0, batch_kind="best", batch_size=512)) == "lstm, batch 512, 2 devices"


def train(
    backend: str, name: str = "cnn-lstm", worker: Sequence[str] = runner.WORKER, **changes: Any
) -> tuple[list[Event], runner.WorkerProblem | None]:
    """Train a small part of a workload for a few steps on two virtual devices."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    small = msgspec.structs.replace(
        WORKLOADS[name], batch_size=16, tokens=40, train_examples=320, test_examples=16, judgements=0,
        examples_before_judging=0,
    )  # fmt: skip
    job = TrainingJob(
        workload=small, backend=backend, train_seconds=0.3, warmup_steps=4, block_seconds=0.1,
        parent_pid=os.getpid(), **{"devices": Devices(kind="cpu", count=2), **changes},
    )  # fmt: skip
    events: list[Event] = []
    return events, runner.run(job, events.append, command=worker)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "engine"),
    [
        ("tensorflow", "tf.distribute.MirroredStrategy"),
        ("torch", "torch DistributedDataParallel (gloo)"),
        ("jax", "keras.distribution.DataParallel"),
    ],
)
def test_two_devices_train_one_model(backend: str, engine: str) -> None:
    events, problem = train(backend)
    assert problem is None, problem
    told = next(e for e in events if isinstance(e, Replicas))
    assert (told.engine, told.devices) == (engine, ("cpu:0", "cpu:1"))
    assert told.differ_by <= scaling.SAME
    timed = [e for e in events if isinstance(e, Block)]
    assert timed
    assert all(e.examples == 16 * e.steps for e in timed)
    assert all(e.loss is not None and 0.1 < e.loss < 2 for e in timed)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "torch", "jax"])
def test_two_devices_with_nan_weights(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    planted = (sys.executable, "-P", "-m", "tests.planted", "no-number")
    events, problem = train(backend, "sign-cnn", planted)  # torch's binary loss raises an error for NaN
    assert problem is None, problem
    assert next(e for e in events if isinstance(e, Replicas)).differ_by is None


@pytest.mark.slow
def test_the_framework_reports_too_many_devices() -> None:
    _, problem = train("torch", devices=Devices(kind="gpu", count=2))
    assert problem is not None
    assert "2 devices were requested, torch finds" in problem.message


@pytest.mark.parametrize("asked", ["tpu", "99"])
def test_the_command_refuses_in_one_sentence(dlbox: Command, asked: str) -> None:
    done = dlbox("bench", "--devices", asked, "--quick", "--workload", "cnn-lstm")
    assert done.returncode == 2
    assert done.stdout == ""
    assert [line for line in done.stderr.splitlines() if "--devices" in line]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_run_on_two_devices_from_end_to_end(dlbox: Command) -> None:
    done = dlbox("bench", "--devices", "cpu:2", "--quick", "--workload", "cnn-lstm", "--json")
    told = json.loads(done.stdout)
    one, both = told["results"]
    assert (one["devices"], both["devices"], both["batch_size"]) == (1, 2, 64)
    assert both["scaling"]["efficiency"] == pytest.approx(both["scaling"]["speedup"] / 2)
    status = {f["id"]: f["status"] for f in told["findings"]}
    assert status["training.cnn-lstm-2-devices-replicas"] == "pass"
    assert status["training.cnn-lstm-2-devices-scaling"] == "skip"
    assert status["training.cnn-lstm-2-devices-learns"] == "pass"
