"""Exported results, read back by the programs that they are written for."""

from __future__ import annotations

import csv
import importlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyperf
import pytest
from mlperf_logging.compliance_checker import mlp_compliance, mlp_parser
from mlperf_logging.mllog import constants, mllog

from bench.commands import export
from bench.results.export import pytest_benchmark_json as benchmark_export
from bench.results.export import tensorboard
from bench.results.export.mlperf_log import mllog as mllog_lines
from bench.results.export.pyperf_json import pyperf_json
from bench.results.export.pytest_benchmark_json import pytest_benchmark_json
from bench.results.export.registry import formats
from bench.results.export.spreadsheet import csv_table
from bench.results.record.document import Document
from bench.results.store.history import History, default_path
from bench.run import session
from tests.conftest import ROOT, Command
from tests.samples import document, machine, result
from tests.test_compare import measured, run_of


def two_models(factor: float = 1.0) -> Document:
    rng = np.random.default_rng(3)
    return document(
        run_id=5,
        results=(
            run_of(*measured(400 * factor, 0.01, rng)),
            run_of(*measured(1100 * factor, 0.01, rng, 3), name="cnn-lstm"),
        ),
    )


def batches_and_devices() -> Document:
    """One workload at the workshop's batch, at its best one, and with that batch on two devices."""
    one = run_of([400.0, 402.0], [401.0, 399.0])
    best = msgspec.structs.replace(one, batch_size=64, batch_kind="best")
    return document(run_id=6, results=(one, best, msgspec.structs.replace(best, devices=2)))


def looked_for_the_best() -> Document:
    """`--batch best` where the workshop's batch is the fastest: a short look, then that batch in full."""
    look = run_of([400.0, 402.0])
    best = msgspec.structs.replace(run_of([400.0, 402.0], [401.0, 399.0]), batch_kind="best")
    return document(run_id=7, results=(look, best), options={"batch": "best"})


def test_two_results_with_one_batch_size_have_different_names(tmp_path: Path) -> None:
    made = looked_for_the_best()
    suite = pyperf.BenchmarkSuite.loads(pyperf_json(made))
    assert suite.get_benchmark_names() == [
        "lstm tensorflow float32 batch 32", "lstm tensorflow float32 best batch 32",
    ]  # fmt: skip
    names = [b["fullname"] for b in json.loads(pytest_benchmark_json(made))["benchmarks"]]
    assert names == ["dlbox::lstm[tensorflow-float32-32]", "dlbox::lstm[tensorflow-float32-32-best]"]
    for together in (made, batches_and_devices()):
        folders = {path.parent for path in tensorboard.write(together, tmp_path)}
        assert len(folders) == sum(len(r.repeats) for r in together.results)


def test_the_table_has_one_row_per_result_with_every_figure() -> None:
    made = two_models()
    rows = list(csv.DictReader(io.StringIO(csv_table(made))))
    assert [row["workload"] for row in rows] == ["lstm", "cnn-lstm"]
    for row, one in zip(rows, made.results, strict=True):
        assert float(row["samples_per_second"]) == one.samples_per_second.median
        assert float(row["step_seconds_p95"]) == one.step_seconds.p95
        assert int(row["processes"]) == len(one.repeats)
        assert (row["hostname"], row["batch_size"], row["partial"]) == ("testbox", "32", "False")
        assert (row["keras_version"], row["driver_version"]) == ("3.15.1", "")


def test_the_table_has_the_seconds_of_reduced_clocks() -> None:
    from tests.pages import on_card

    rows = list(csv.DictReader(io.StringIO(csv_table(on_card()))))
    assert [row["gpu_held_down_seconds"] for row in rows] == ["4.5", "0", "0"]
    assert [row["variant"] for row in rows] == ["", "", ""]
    plain = next(csv.DictReader(io.StringIO(csv_table(two_models()))))
    assert plain["gpu_held_down_seconds"] == "", "nobody looked"


def test_quotes_and_line_breaks_stay_inside_their_field() -> None:
    host = msgspec.structs.replace(machine().host, hostname='a "box",\nno 2')
    text = csv_table(document(machine=machine(host=host)))
    assert [row["hostname"] for row in csv.DictReader(io.StringIO(text))] == ['a "box",\nno 2'] * 2


def lines_of(made: Document) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix(":::MLLOG ")) for line in mllog_lines(made).splitlines()]


def test_the_log_lines_equal_those_of_mlperf_s_encoder() -> None:
    text = mllog_lines(two_models())
    for line, entry in zip(text.splitlines(), lines_of(two_models()), strict=True):
        assert line == mllog._encode_log(**entry)
    kinds = {constants.INTERVAL_START, constants.INTERVAL_END, constants.POINT_IN_TIME}
    assert {entry["event_type"] for entry in lines_of(two_models())} == kinds
    own = {value for name, value in vars(constants).items() if name.isupper()}
    assert {entry["key"] for entry in lines_of(two_models())} - own == {"tracked_stats"}


ONLY_STATED = {
    "submission_org", "submission_division", "cache_clear", "train_samples", "eval_samples", "init_stop",
}  # fmt: skip
"""It allows no time to start (init_stop) where no division is stated."""


def missed(everything: str, namespace: str, ruleset: str, folder: Path) -> set[str]:
    """What MLPerf's checker finds wrong with one process's lines."""
    first = folder / "process.txt"
    first.write_text("".join(x for x in everything.splitlines(True) if f'"{namespace}"' in x))
    checker = mlp_compliance.ComplianceChecker("training", ruleset, True, False)
    checker.check_file(str(first), f"training_{ruleset}/common.yaml")
    return {*checker.overwritable, *checker.not_overwritable}


@pytest.mark.parametrize("ruleset", ["4.1.0", "5.1.0"])
def test_each_batch_size_of_a_workload_is_a_separate_run(tmp_path: Path, ruleset: str) -> None:
    everything = mllog_lines(batches_and_devices())
    names = list(dict.fromkeys(e["namespace"] for e in lines_of(batches_and_devices())))
    assert names == [
        f"{label}/tensorflow/{number}"
        for label in ("lstm", "lstm-batch-64", "lstm-batch-64-2-devices") for number in range(2)
    ]  # fmt: skip
    for name in names:
        judged = set() if name.endswith("/0") else {"eval_accuracy"}  # only the first process is
        assert missed(everything, name, ruleset, tmp_path) == ONLY_STATED | judged


def test_all_results_have_different_names(tmp_path: Path) -> None:
    made = batches_and_devices()
    path = tmp_path / "a.json"
    path.write_text(pyperf_json(made))
    shown = subprocess.run(
        [sys.executable, "-m", "pyperf", "show", str(path)], capture_output=True, text=True, check=False
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.count("lstm tensorflow float32 batch") == 3
    assert "lstm tensorflow float32 batch 64 on 2 devices" in shown.stdout
    told = json.loads(pytest_benchmark_json(made))["benchmarks"]
    assert [entry["fullname"] for entry in told] == [
        "dlbox::lstm[tensorflow-float32-32]",
        "dlbox::lstm[tensorflow-float32-64]",
        "dlbox::lstm[tensorflow-float32-64-2-devices]",
    ]


@pytest.mark.parametrize("ruleset", ["4.1.0", "5.1.0"])
def test_mlperf_s_parser_and_checker_accept_each_process_as_a_run(tmp_path: Path, ruleset: str) -> None:
    """All that its checker misses is what a submission to MLPerf would have to state."""
    everything = mllog_lines(two_models())
    whole = tmp_path / "result.txt"
    whole.write_text(everything)
    parsed, errors = mlp_parser.parse_file(str(whole), ruleset=ruleset)
    assert errors == []
    assert len(parsed) == everything.count("\n")
    assert [p.timestamp for p in parsed] == sorted(p.timestamp for p in parsed)
    assert missed(everything, "lstm/tensorflow/0", ruleset, tmp_path) == ONLY_STATED


def test_the_log_has_the_speed_of_each_block_and_the_status_of_each_process() -> None:
    made = two_models()
    told = [e for e in lines_of(made) if e["namespace"] == "lstm/tensorflow/0"]
    rates = [e["value"]["throughput"] for e in told if e["key"] == "tracked_stats"]
    assert rates == [b.samples_per_second for b in made.results[0].repeats[0].blocks]
    ends = [e["metadata"]["status"] for e in lines_of(made) if e["key"] == "run_stop"]
    assert ends == ["success", *["aborted"] * 4, "success", *["aborted"] * 2]
    assert told[-1]["metadata"]["learning"] == "seen"
    blocks = [e["time_ms"] for e in told if e["key"] in ("block_start", "block_stop")]
    spent = sum(b.seconds for b in made.results[0].repeats[0].blocks)
    assert blocks[-1] - blocks[0] == pytest.approx(spent * 1000, abs=1)


@pytest.mark.parametrize(("bar", "learning"), [(0.0, "not judged"), (0.99, "missed")])
def test_a_run_without_measured_accuracy_is_not_a_success(bar: float, learning: str) -> None:
    made = two_models()
    one = msgspec.structs.replace(made.results[0], accuracy_bar=bar)
    told = lines_of(msgspec.structs.replace(made, results=(one,)))
    end = next(e for e in told if e["key"] == "run_stop")
    assert (end["metadata"]["status"], end["metadata"]["learning"]) == ("aborted", learning)


def test_pyperf_reads_the_same_step_times(tmp_path: Path) -> None:
    made = two_models()
    path = tmp_path / "a.json"
    path.write_text(pyperf_json(made))
    suite = pyperf.BenchmarkSuite.load(str(path))
    assert suite.get_benchmark_names() == [
        "lstm tensorflow float32 batch 32", "cnn-lstm tensorflow float32 batch 32",
    ]  # fmt: skip
    for one, benchmark in zip(made.results, suite.get_benchmarks(), strict=True):
        assert benchmark.median() == pytest.approx(one.step_seconds.p50)
        assert benchmark.get_nrun() == len(one.repeats)
        assert benchmark.get_values() == tuple(b.seconds / b.steps for b in one.blocks)
        assert benchmark.get_metadata()["hostname"] == "testbox"
        assert benchmark.get_total_duration() == pytest.approx(sum(b.seconds for b in one.blocks))


def test_pyperf_compares_two_of_them(tmp_path: Path) -> None:
    for name, factor in (("a", 1.0), ("b", 0.5)):
        (tmp_path / f"{name}.json").write_text(pyperf_json(two_models(factor)))
    done = subprocess.run(
        [sys.executable, "-m", "pyperf", "compare_to", "a.json", "b.json"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "lstm tensorflow float32 batch 32" in done.stdout
    assert "2.00x slower" in done.stdout
    shown = subprocess.run(
        [sys.executable, "-m", "pyperf", "show", "--metadata", "a.json"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    assert "cpu_model_name: Example CPU" in shown.stdout


def test_pyperf_accepts_empty_texts_and_line_breaks() -> None:
    host = msgspec.structs.replace(machine().host, hostname="", cpu_model="a\nb")
    text = pyperf_json(document(machine=machine(host=host)))
    suite = pyperf.BenchmarkSuite.loads(text)
    assert suite.get_metadata()["cpu_model_name"] == "a b"


FILES = {one.parameter: one.render for one in formats("run") if one.render is not None}


@pytest.mark.parametrize("kind", sorted(FILES))
def test_every_format_accepts_an_interrupted_result(kind: str) -> None:
    short = result("gru", 100.0, partial=True, accuracy=None, compile_seconds=None, import_seconds=None)
    bare = msgspec.structs.replace(short.repeats[0], accuracy=None, import_seconds=None, compile_seconds=None)
    made = document(results=(msgspec.structs.replace(short, repeats=(bare,)),), partial=True)
    assert "gru" in FILES[kind](made)


def test_a_stored_run_is_exported_in_all_formats_without_a_page(
    dlbox: Command, own_data_folder: Path, tmp_path: Path
) -> None:
    history = History(default_path())
    for made in (document(), two_models()):
        history.save(history.begin(made), made, "complete")
    files = {kind: tmp_path / "new" / f"x.{kind}" for kind in FILES}
    options = [word for kind, path in files.items() for word in (f"--{kind.replace('_', '-')}", str(path))]
    done = dlbox("report", "1", *options)
    assert (done.returncode, done.stderr) == (0, "")
    stored = history.run(1)
    assert stored is not None
    assert stored.document is not None
    for kind, path in files.items():
        assert path.read_text() == FILES[kind](stored.document)
    assert not list(own_data_folder.rglob("*.html"))
    assert dlbox("report", "9", "--csv", "x.csv").returncode == 2


def test_the_error_of_a_failed_export_says_how_to_retry(dlbox: Command, tmp_path: Path) -> None:
    history = History(default_path())
    history.save(history.begin(document()), document(), "complete")
    (tmp_path / "file").write_text("")
    done = dlbox("report", "--csv", str(tmp_path / "file" / "x.csv"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "dlbox report 1 --csv FILE" in done.stderr


def test_a_run_without_results_is_not_exported(tmp_path: Path) -> None:
    said: list[str] = []
    code = export.write(document(results=()), {"csv": tmp_path / "x.csv", "mllog": None}, said.append)
    assert (code, len(said)) == (1, 1)
    assert not (tmp_path / "x.csv").exists()


def bench(*arguments: str) -> int:
    from click.testing import CliRunner

    command = importlib.import_module("dlbox").cli  # not `import dlbox`: nothing imports the command
    return CliRunner().invoke(command, ["bench", *arguments]).exit_code


def test_bench_exports_at_its_end_and_when_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    ended = document(run_id=1)

    def run(options: session.RunOptions, watcher: object) -> Document:
        if options.seed:
            raise session.InterruptedRunError(msgspec.structs.replace(ended, partial=True))
        return ended

    monkeypatch.setattr(session, "run", run)
    for seed, code in ((0, 0), (1, 130)):
        path = tmp_path / f"{seed}.csv"
        assert bench("--csv", str(path), "--seed", str(seed)) == code
        assert path.read_text() == csv_table(ended)
    (tmp_path / "file").write_text("")
    assert bench("--pyperf", str(tmp_path / "file" / "x.json")) == 1


def test_statistics_equal_those_of_pytest_benchmark() -> None:
    stats = pytest.importorskip("pytest_benchmark.stats")
    for count in (1, 2, 3, 4, 5, 6, 7, 8, 23):
        seconds = [float(v) for v in np.random.default_rng(count).lognormal(size=count)]
        theirs = stats.Stats()
        for value in seconds:
            theirs.update(value)
        ours = benchmark_export._rounds(seconds)
        for field, value in theirs.as_dict().items():
            assert ours[field] == (value if isinstance(value, str) else pytest.approx(value)), (count, field)


def test_pytest_benchmark_compares_two_of_them(tmp_path: Path) -> None:
    pytest.importorskip("pytest_benchmark")
    for name, factor in (("a", 1.0), ("b", 0.5)):
        (tmp_path / f"{name}.json").write_text(pytest_benchmark_json(two_models(factor)))
    done = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "compare", "a.json", "b.json"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "lstm[tensorflow-float32-32]" in done.stdout
    assert "Failed to load" not in done.stdout + done.stderr


def test_pytest_benchmark_json_has_each_block_and_the_median() -> None:
    made = two_models()
    told = json.loads(pytest_benchmark_json(made))
    for one, entry in zip(made.results, told["benchmarks"], strict=True):
        assert entry["stats"]["data"] == [b.seconds / b.steps for b in one.blocks]
        assert entry["stats"]["median"] == pytest.approx(one.step_seconds.p50)
        assert entry["stats"]["rounds"] == len(one.blocks)
