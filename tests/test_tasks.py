"""Data and model of every workload: matching shapes, the same data for the same seed, unchanged builders.

The models are built in a separate process, as in a worker.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import msgspec
import numpy as np
import pytest

from bench.measure.worker import tasks
from bench.measure.workloads import DATA_DESCRIPTIONS, WORKLOADS, Workload
from tests.conftest import ROOT

SMALL = {
    name: msgspec.structs.replace(w, train_examples=64, test_examples=32) for name, w in WORKLOADS.items()
}

DIGESTS = {
    "lstm": "3e250cc79589",
    "gru": "358609c14623",
    "cnn-lstm": "9559dbdb62f7",
    "simple-rnn": "961559b47848",
    "bilstm": "1d45650f4327",
    "deep-lstm": "71778d7632d8",
    "cnn": "a4c19963ed5c",
    "attention": "c708b3a8dd72",
    "lstm-text-gen": "f6b973c7e330",
    "gru-text-gen": "8f3c30f1a1ed",
    "seq2seq": "e117c3790f11",
    "sign-cnn": "cc3f31294263",
    "lstm-faithful": "1f44b4a47235",
    "lstm-dropout-faithful": "fa18cb985abe",
    "deep-lstm-faithful": "63ec48cdc5ad",
    "cnn-lstm-faithful": "eb6ca0b14c16",
}

BUILD = """
import hashlib, json
from bench.measure.worker import arithmetic, tasks
from bench.measure.workloads import WORKLOADS

def plain(config):  # names count up within a process
    if isinstance(config, dict):
        return {k: plain(v) for k, v in config.items() if k not in ("name", "registered_name", "module")}
    return [plain(v) for v in config] if isinstance(config, (list, tuple)) else config

told = {}
for name, work in WORKLOADS.items():
    model = tasks.model(work)
    layers = [(type(l).__name__, plain(l.get_config())) for l in model.layers]
    text = json.dumps([layers, plain(model.optimizer.get_config())], sort_keys=True, default=str)
    counted = arithmetic.count(model, 32, work.tokens)
    told[name] = {
        "mflop": counted.flop_per_sample / 1e6,
        "bytes": counted.bytes_per_sample,
        "steps": counted.recurrent_steps,
        "input": [list(i.shape) for i in model.inputs],
        "output": list(model.output_shape),
        "parameters": model.count_params(),
        "sigmoid_layers": sum(
            type(l).__name__ == "LSTM" and l.get_config()["activation"] == "sigmoid" for l in model.layers
        ),
        "recurrent_dropout": max([l.get_config().get("recurrent_dropout", 0) for l in model.layers] or [0]),
        "digest": hashlib.sha256(text.encode()).hexdigest()[:12],
    }
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def built() -> dict[str, dict[str, Any]]:
    done = subprocess.run([sys.executable, "-c", BUILD], capture_output=True, text=True, check=True, cwd=ROOT)
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_data_have_one_length_and_depend_on_the_seed(name: str) -> None:
    work = SMALL[name]
    one, again, other = tasks.data(work, 3), tasks.data(work, 3), tasks.data(work, 4)
    assert len(one.inputs) == len(one.targets) == 64
    assert len(one.test_inputs) == len(one.test_targets) == 32
    assert np.array_equal(one.inputs, again.inputs)
    assert np.array_equal(one.targets, again.targets)
    assert not np.array_equal(one.inputs, other.inputs)
    assert not np.array_equal(one.inputs[:32], one.test_inputs)
    assert one.ceiling is None or 0.8 < one.ceiling <= 1
    assert "synthetic" in work.data_description
    assert work.data in DATA_DESCRIPTIONS


def test_the_target_of_text_is_the_next_character() -> None:
    made = tasks.data(SMALL["lstm-text-gen"], 0)
    assert made.inputs.shape == made.targets.shape == (64, 200)
    assert np.array_equal(made.inputs[:, 1:], made.targets[:, :-1])
    assert made.inputs.max() < WORKLOADS["lstm-text-gen"].vocabulary


@pytest.mark.parametrize("name", WORKLOADS)
def test_model_and_data_have_matching_shapes(name: str, built: dict[str, dict[str, Any]]) -> None:
    made, told = tasks.data(SMALL[name], 0), built[name]
    shape = told["input"][0]
    assert len(shape) == made.inputs.ndim
    assert all(a in (None, b) for a, b in zip(shape[1:], made.inputs.shape[1:], strict=True))
    if WORKLOADS[name].loss.startswith("sparse"):
        assert made.targets.max() < told["output"][-1]


def test_sizes_equal_those_of_the_class(built: dict[str, dict[str, Any]]) -> None:
    assert {name: built[name]["parameters"] for name in ("bilstm", "deep-lstm-faithful")} == {
        "bilstm": 171_001,
        "deep-lstm-faithful": 260_901,
    }


def test_the_work_equals_a_calculation_by_hand(built: dict[str, dict[str, Any]]) -> None:
    """Three times the forward pass, two FLOP per multiply-add: gates x 2 x units x (inputs + units) x steps, ..."""
    on_paper = {
        "lstm": 3 * 8 * 100 * 150 * 300,
        "gru": 3 * 6 * 100 * 150 * 300,
        "simple-rnn": 3 * 2 * 100 * 150 * 300,
        "bilstm": 2 * 3 * 8 * 100 * 150 * 300,
        "deep-lstm": 3 * 8 * 100 * (150 + 200) * 300,
        "cnn": 3 * 2 * (3 * 50 * 50 * 998 + 998 * 50 * 100),
        "cnn-lstm": 3 * (2 * 5 * 50 * 64 * 296 + 8 * 70 * (64 + 70) * 74),
        "lstm-text-gen": 3 * (8 * 128 * (20 + 128) * 200 + 2 * 128 * 20 * 200),
        "seq2seq": 3 * (8 * 128 * (12 + 128) * 7 + 8 * 128 * 256 * 4 + 2 * 128 * 12 * 4),
        "sign-cnn": 3 * 2 * (9 * 16 * 26 * 26 + 9 * 16 * 32 * 11 * 11 + 800 * 128 + 128 * 25),
    }
    for name, flop in on_paper.items():
        assert built[name]["mflop"] == pytest.approx(flop / 1e6, rel=0.001), name
    steps = {
        name: built[name]["steps"] for name in ("lstm", "bilstm", "deep-lstm", "cnn", "cnn-lstm", "seq2seq")
    }
    assert steps == {"lstm": 300, "bilstm": 600, "deep-lstm": 600, "cnn": 0, "cnn-lstm": 74, "seq2seq": 11}
    assert all(told["bytes"] > 0 for told in built.values())


def test_faithful_workloads_have_arguments_that_prevent_fused_kernels(
    built: dict[str, dict[str, Any]],
) -> None:
    for name, told in built.items():
        odd = bool(told["recurrent_dropout"]) or told["sigmoid_layers"] > 0
        assert odd is not WORKLOADS[name].fused, name


def test_the_builders_are_unchanged(built: dict[str, dict[str, Any]]) -> None:
    """If it fails, a builder changed: raise the workload's `version`, insert the new digest."""
    assert {name: told["digest"] for name, told in built.items()} == DIGESTS


def test_unknown_data_is_an_error() -> None:
    with pytest.raises(KeyError):
        tasks.data(Workload(name="x", model="lstm", data="none"), 0)
