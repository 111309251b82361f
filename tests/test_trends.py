"""`dlbox history --models` and the names of runs."""

from __future__ import annotations

import json

import msgspec
import pytest

from bench.results.store.history import History, default_path
from bench.results.terminal import trends
from tests.conftest import Command
from tests.samples import document, result


@pytest.fixture
def stored(own_data_folder: object) -> History:
    history = History(default_path())
    for day, (lstm, gru) in enumerate([(400.0, 300.0), (440.0, 300.0), (396.0, 330.0)], 1):
        made = document(
            started_at=f"2026-11-0{day}T10:00:00+00:00",
            results=(result("lstm", *[lstm] * 4), result("gru", *[gru] * 4, batch_size=64)),
        )
        made = msgspec.structs.replace(made, options={**made.options, "name": f"fan {day}"})
        history.save(history.begin(made), made, "complete")
    return history


def test_each_model_has_a_row_with_its_change(dlbox: Command, stored: History) -> None:
    rows = json.loads(dlbox("history", "--models", "--json").stdout)["models"]
    changes = [
        (row["run"], row["model"], None if row["change"] is None else round(row["change"], 3)) for row in rows
    ]
    assert changes == [
        (1, "lstm", None), (1, "gru", None), (2, "lstm", 0.1), (2, "gru", 0.0), (3, "lstm", -0.1), (3, "gru", 0.1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "models"),
    [
        (["--workload", "gru"], {"gru"}),
        (["--batch", "32"], {"lstm"}),
        (["--backend", "torch"], set()),
        (["--backend", "tensorflow"], {"lstm", "gru"}),
    ],
)
def test_filters_select_models(dlbox: Command, stored: History, options: list[str], models: set[str]) -> None:
    rows = json.loads(dlbox("history", *options, "--json").stdout)["models"]
    assert {row["model"] for row in rows} == models


def test_the_limit_counts_runs(dlbox: Command, stored: History) -> None:
    rows = json.loads(dlbox("history", "--models", "--limit", "2", "--json").stdout)["models"]
    assert [row["run"] for row in rows] == [2, 2, 3, 3]


def test_the_table_fits_80_columns_and_has_a_trend(dlbox: Command, stored: History) -> None:
    done = dlbox("history", "--models", COLUMNS="80", NO_COLOR="1")
    lines = done.stdout.rstrip().splitlines()
    assert max(map(len, lines)) <= 80
    assert "\u2582\u2588\u2581" in done.stdout
    assert "fan 3" in " ".join(done.stdout.split())


def test_runs_show_their_names(dlbox: Command, stored: History) -> None:
    assert "fan 2" in dlbox("history").stdout
    assert [run["name"] for run in json.loads(dlbox("history", "--json").stdout)["runs"]] == [
        "fan 1",
        "fan 2",
        "fan 3",
    ]


def test_a_misspelt_workload_gets_a_suggestion(dlbox: Command) -> None:
    done = dlbox("history", "--workload", "cn-lstm")
    assert (done.returncode, done.stdout) == (2, "")
    assert "(did you mean cnn-lstm?)" in done.stderr


@pytest.mark.parametrize("name", ["", " ", "x" * 81])
def test_an_empty_or_long_name_is_refused(dlbox: Command, name: str) -> None:
    done = dlbox("bench", "--name", name)
    assert done.returncode == 2
    assert "--name needs 1 to 80 characters" in done.stderr


@pytest.mark.parametrize(
    ("values", "bars"),
    [((), ""), ((5.0,), "\u2584"), ((1.0, 1.0), "\u2584\u2584"), ((1.0, 8.0, 4.5), "\u2581\u2588\u2585")],
)
def test_sparklines(values: tuple[float, ...], bars: str) -> None:
    assert trends.sparkline(values) == bars
