"""The order of what a result is held against: own baseline, band of the card, prediction; each says its numbers."""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import scenario
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bench.finding import Finding, Status
from bench.judge import bands, baseline, prediction
from bench.measure.workloads import SUITES, WORKLOADS
from bench.results.record.document import Document, Result, to_json
from bench.results.record.figures import Probes, Work
from bench.results.store.rows import Run
from common.file_access.yaml_lines import YamlError
from inventory.machine.records import Machine
from tests.conftest import ROOT
from tests.samples import document, machine, result
from tests.test_compare import FIVE, run_of

WORK = Work(flop_per_sample=1e8, bytes_per_sample=1e5, recurrent_steps=300, recurrent_flop_per_sample=9e7)
PROBES = Probes(
    backend="tensorflow", device="cpu", on_gpu=False, matmul_tflops={"fp32": 0.2}, bandwidth_gb_s=10.0,
    step_seconds=1e-4, train_step_seconds=2e-3, recurrent_tflops=0.05, convolution_tflops=0.1,
)  # fmt: skip


def only(found: list[Finding]) -> Finding:
    assert len(found) == 1, found
    return found[0]


def judge(made: Result, on: Machine | None = None, **how: Any) -> list[Finding]:
    return baseline.judge(made, on or machine(), **{"baselines": [], "probes": PROBES, "kept": (), **how})


def times(factor: float) -> list[list[float]]:
    return [[rate * factor for rate in process] for process in FIVE]


def run(number: int, *results: Result, **changes: Any) -> Run:
    kept = document(results=results, findings=(), **changes)
    return Run(id=number, started_at="", command="bench", state="complete", document=kept, baseline=True)


# The prediction


def test_the_prediction_adds_up() -> None:
    made = prediction.predict(WORK, 32, PROBES)
    assert made is not None
    assert made.loop == pytest.approx(300 * 1e-4)
    assert made.products == pytest.approx(32 * (9e7 / 5e10 + 1e7 / 1e11))
    assert made.memory == pytest.approx(32 * 1e5 / 1e10)
    assert made.samples_per_second == pytest.approx(
        32 / (2e-3 + 0.03 + 32 * (1.8e-3 + 1e-4 + 1e-5)), rel=1e-6
    )


@pytest.mark.parametrize(("share", "status"), [(1.0, Status.PASS), (0.55, Status.PASS), (0.2, Status.WARN)])
def test_slower_than_the_probes_allow_is_told(share: float, status: Status) -> None:
    made = prediction.predict(WORK, 32, PROBES)
    assert made is not None
    level = made.samples_per_second * share
    finding = only(judge(result("lstm", level, level, work=WORK)))
    assert (finding.id, finding.status) == ("training.lstm-predicted", status)
    assert f"{level:,.0f} samples/s" in finding.message
    assert f"predict {made.samples_per_second:,.0f}" in finding.message
    assert f"ratio {share:.2f}" in finding.message


def test_each_workload_has_a_limit_from_its_own_measured_error() -> None:
    """At 0.6 of the prediction gru, which was off by 1.01 times, warns; cnn-lstm, off by 2.18 times, does not."""
    made = prediction.predict(WORK, 32, PROBES)
    assert made is not None
    level = made.samples_per_second * 0.6
    gru, cnn_lstm = (only(judge(result(name, level, level, work=WORK))) for name in ("gru", "cnn-lstm"))
    assert (gru.status, cnn_lstm.status) == (Status.WARN, Status.PASS)
    assert "the limit is 0.78, because predictions of gru were wrong by a factor of up to 1.01" in gru.message
    assert "the limit is 0.36" in cnn_lstm.message


@pytest.mark.parametrize("change", [{"workload": "lstm-faithful"}, {"backend": "jax"}, {"on_gpu": True}])
def test_what_was_never_tried_has_the_flat_limit_and_says_so(change: dict[str, Any]) -> None:
    made = prediction.predict(WORK, 32, PROBES)
    assert made is not None
    probes = msgspec.structs.replace(PROBES, **{k: v for k, v in change.items() if k != "workload"})
    level = made.samples_per_second * 0.6
    finding = only(judge(result("lstm", level, level, work=WORK, **change), probes=probes))
    assert finding.status is Status.PASS
    assert "the limit is 0.50, a default, because lstm" in finding.message
    assert "was never compared with" in finding.message


def test_the_measured_errors_are_those_of_the_table() -> None:
    text = (ROOT / "docs" / "evidence" / "prediction.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.startswith("| ")]
    table = {row[1]: float(row[4]) for row in rows if row[1] in WORKLOADS}
    (machine_,) = prediction.measured()
    assert machine_.ratios == table
    assert set(table) == set(SUITES["workshop"])
    assert f"times {prediction.MARGIN:.2f} for chance" in text


@pytest.mark.parametrize(
    "missing",
    ["bandwidth_gb_s", "step_seconds", "train_step_seconds", "recurrent_tflops", "convolution_tflops"],
)
def test_without_a_probe_nothing_is_predicted(missing: str) -> None:
    probes = msgspec.structs.replace(PROBES, **{missing: None})
    assert "is missing" in nothing(judge(result(work=WORK), probes=probes))


def nothing(found: list[Finding]) -> str:
    """What is said where there is no measure at all."""
    finding = only(found)
    assert (finding.id.rpartition("-")[2], finding.status) == ("expected", Status.SKIP)
    assert finding.message.startswith("its speed has nothing to be compared with: ")
    assert "`dlbox bench --baseline`" in finding.message
    return finding.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"backend": "jax"},
            "no prediction (the probes ran with tensorflow on a processor, the training with jax",
        ),
        ({"batch_size": 64}, "no prediction (it applies to batch 32 only)"),
        (
            {"on_gpu": True},
            "the probes ran with tensorflow on a processor, the training with tensorflow on a card",
        ),
        ({"work": None}, "the operations of the model were not counted"),
        ({"devices": 2}, "bands and predictions apply to one device only"),
    ],
)
def test_where_nothing_is_expected_that_is_said(change: dict[str, Any], words: str) -> None:
    assert words in nothing(judge(msgspec.structs.replace(result(work=WORK), **change)))


def test_where_nothing_is_expected_of_a_card_both_reasons_are_said(box: Machine) -> None:
    large = msgspec.structs.replace(result(**ON_CARD), batch_size=256)
    told = nothing(judge(large, box, probes=GPU_PROBES))
    assert (
        "no band of measured speed (GeForce RTX 3060 12GB was not measured with it yet), no prediction"
        in told
    )


def test_a_result_that_counts_for_nothing_is_not_said_to_be_without_a_measure() -> None:
    assert judge(result(work=WORK, partial=True)) == []
    assert "the probes did not run" in nothing(judge(result(work=WORK), probes=None))


def damaged(*_: Any) -> Any:
    raise YamlError("bands.yml, line 7: RTX 3061 is no card")


def test_a_damaged_band_file_leaves_the_prediction(box: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert baseline.unreadable() == []
    monkeypatch.setattr(bands, "shipped", damaged)
    found = only(judge(result(**ON_CARD), box, probes=GPU_PROBES, kept=None))
    assert found.id == "training.lstm-predicted"
    assert "no band of measured speed (bands.yml cannot be read)" in found.message
    told = only(baseline.unreadable())
    assert (told.status, told.id) == (Status.WARN, "results.expectations")
    assert "line 7: RTX 3061 is no card" in told.message


def test_a_damaged_file_of_errors_leaves_the_band(box: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "measured", damaged)
    assert only(judge(result(**ON_CARD), box, kept=[band()])).id == "training.lstm-band"
    assert "no prediction (prediction.yml cannot be read)" in nothing(judge(result(work=WORK)))
    assert only(baseline.unreadable()).status is Status.WARN


@given(
    st.floats(1e3, 1e12), st.floats(1, 1e9), st.integers(0, 10_000), st.floats(0, 1),
    st.floats(1e-9, 1), st.floats(1e-9, 1), st.floats(1e-6, 1e3), st.floats(1e-3, 1e5),
)  # fmt: skip
def test_more_of_anything_is_never_faster(
    flop: float, moved: float, steps: int, share: float, step: float, fit: float, tflops: float, bandwidth: float
) -> None:  # fmt: skip
    probes = msgspec.structs.replace(
        PROBES, step_seconds=step, train_step_seconds=fit, recurrent_tflops=tflops, bandwidth_gb_s=bandwidth
    )
    work = Work(
        flop_per_sample=flop, bytes_per_sample=moved, recurrent_steps=steps, recurrent_flop_per_sample=share * flop
    )  # fmt: skip
    more = msgspec.structs.replace(work, flop_per_sample=2 * flop, recurrent_steps=steps + 1)
    one, other = prediction.predict(work, 32, probes), prediction.predict(more, 32, probes)
    assert one is not None
    assert other is not None
    assert 0 < other.samples_per_second <= one.samples_per_second


# The order


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return scenario.load("rtx3060_idle").machine(tmp_path_factory.mktemp("box"))


def band(**changes: Any) -> bands.Band:
    made = bands.Band(
        card="RTX 3060 12GB", workload="lstm", fingerprint=WORKLOADS["lstm"].fingerprint, backend="tensorflow",
        precision="float32", batch=32, low=380.0, high=420.0, runs=3, measured_on=datetime.date(2026, 11, 25),
        source="a test",
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


ON_CARD: dict[str, Any] = {"on_gpu": True, "device": "RTX 3060", "work": WORK}
GPU_PROBES = msgspec.structs.replace(PROBES, on_gpu=True)


def test_a_baseline_comes_before_a_band_and_a_band_before_the_prediction(box: Machine) -> None:
    made = run_of(*FIVE, **ON_CARD)
    how: dict[str, Any] = {"probes": GPU_PROBES}
    own = run(1, made, machine=box)
    found = only(judge(made, box, baselines=[own], kept=[band()], **how))
    assert found.id == "training.lstm-baseline"
    assert only(judge(made, box, kept=[band()], **how)).id == "training.lstm-band"
    assert only(judge(made, box, **how)).id == "training.lstm-predicted"


def test_a_baseline_of_another_version_gives_way_and_is_told(box: Machine) -> None:
    made = run_of(*FIVE, **ON_CARD)
    old = run(1, msgspec.structs.replace(made, fingerprint="0" * 16), machine=box)
    first, second = judge(made, box, baselines=[old], kept=[band()])
    assert (first.status, second.id) == (Status.SKIP, "training.lstm-band")


@pytest.mark.parametrize(
    ("level", "status", "words"),
    [(400.0, Status.PASS, "within"), (500.0, Status.PASS, "above"), (300.0, Status.FAIL, "below")],
)
def test_a_band_judges(box: Machine, level: float, status: Status, words: str) -> None:
    found = only(judge(result("lstm", level, level, **ON_CARD), box, kept=[band()]))
    assert found.status is status
    assert f"{words} the 380 to 420 of 3 runs" in found.message
    assert "a test, 2026-11-25" in found.message


def test_a_card_that_nobody_measured_is_told(box: Machine) -> None:
    found = only(judge(result(**ON_CARD), box, probes=GPU_PROBES))
    assert "was not measured with it yet" in found.message
    assert "never compared" in found.message
    found = only(judge(result(**ON_CARD), box, probes=GPU_PROBES, kept=[band(fingerprint="0" * 16)]))
    assert "another version" in found.message


# The band file


def test_the_shipped_bands_are_valid() -> None:
    assert bands.read() == bands.shipped()


def written(folder: Path, **changes: Any) -> Path:
    entry = msgspec.to_builtins(band(), builtin_types=(datetime.date,)) | changes
    path = folder / "bands.yml"
    path.write_text(yaml.safe_dump({"bands": [entry]}))
    return path


def test_a_band_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert bands.read(written(tmp_path)) == (band(),)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"card": "RTX 3061"}, "RTX 3061"),
        ({"workload": "transformer"}, "unknown workload 'transformer'"),
        ({"backend": "mxnet"}, "expected one of tensorflow"),
        ({"low": 500.0}, "not below"),
        ({"low": -1}, "low"),
        ({"source": ""}, "source"),
        ({"fingerprint": "abc"}, "fingerprint"),
        ({"speed": 3}, "`speed` is not a field"),
        ({"measured_on": "yesterday"}, "a date"),
    ],
)
def test_a_mistake_in_a_band_is_one_sentence_with_its_line(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(YamlError) as caught:
        bands.read(written(tmp_path, **change))
    assert words in str(caught.value)
    assert re.match(r"bands\.yml, line \d+: ", str(caught.value))
    assert "\n" not in str(caught.value)


def test_the_same_band_twice_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text() + path.read_text().partition("\n")[2])
    with pytest.raises(YamlError, match="has the same band"):
        bands.read(path)


def exported(folder: Path, *documents: Document) -> Path:
    path = folder / "runs.jsonl"
    path.write_text("".join(to_json(d).replace("\n", "") + "\n" for d in documents))
    return path


def from_export(path: Path, source: str = "me") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "bench.judge.bands", str(path), source],
        capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_an_export_makes_bands_that_can_be_read(tmp_path: Path, box: Machine) -> None:
    runs = [document(machine=box, results=(run_of(*times(f), **ON_CARD),)) for f in (1, 1.05)]
    done = from_export(exported(tmp_path, *runs))
    assert done.returncode == 0, done.stderr
    path = tmp_path / "bands.yml"
    path.write_text("bands:\n" + done.stdout)
    (made,) = bands.read(path)
    assert (made.card, made.runs, made.source) == ("GeForce RTX 3060 12GB", 2, "me")
    for kept in runs:
        assert made.low < kept.results[0].samples_per_second.median < made.high


def test_an_export_without_a_card_makes_none_and_says_so(tmp_path: Path) -> None:
    done = from_export(exported(tmp_path, document()))
    assert (done.returncode, done.stdout) == (1, "")
    assert "no complete run on a card" in done.stderr
    done = from_export(tmp_path / "nowhere")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


# The scatter of this box's own runs


def test_earlier_runs_of_the_same_work_count_and_no_others() -> None:
    made = run_of(*FIVE)
    slow = Finding(id="training.lstm-baseline", status=Status.FAIL, title="t", message="m", remedy="r")
    other = {"fingerprint": "0" * 16, "backend": "jax", "versions": {"keras": "3.14"}, "partial": True}
    runs = [run(n, msgspec.structs.replace(made, **{k: v})) for n, (k, v) in enumerate(other.items())]
    failed = run(8, made)
    assert failed.document is not None
    runs.append(
        msgspec.structs.replace(failed, document=msgspec.structs.replace(failed.document, findings=(slow,)))
    )
    runs.append(msgspec.structs.replace(run(9, made), state="partial"))
    assert baseline.earlier_speeds(made, machine(), runs) == []
    assert baseline.earlier_speeds(made, machine(), [*runs, run(10, made)]) == [
        made.samples_per_second.median
    ]


def test_a_fault_of_a_workload_with_a_longer_name_is_not_its_own() -> None:
    made = run_of(*FIVE)
    other = msgspec.structs.replace(made, workload=f"{made.workload}-text-gen")
    fault = Finding(
        id=f"training.{other.label}-learns", status=Status.FAIL, title="t", message="m", remedy="r"
    )
    before = run(1, made)
    assert before.document is not None
    both = msgspec.structs.replace(before.document, results=(made, other), findings=(fault,))
    runs = [msgspec.structs.replace(before, document=both)]
    assert baseline.earlier_speeds(made, machine(), runs) == [made.samples_per_second.median]
    assert baseline.earlier_speeds(other, machine(), runs) == []


def test_what_whole_runs_differ_by_is_allowed() -> None:
    """8% slower fails beside runs that agree to a tenth of a percent, and passes among runs that scatter by 5%."""
    before, now = run_of(*FIVE), run_of(*times(0.92))
    level = before.samples_per_second.median
    calm = [level * f for f in (0.999, 1.0, 1.001, 1.0, 1.0005, 0.9995)]
    wild = [level * f for f in (0.95, 1.0, 1.05, 0.93, 1.06, 1.0)]
    for earlier, status in ((calm, Status.FAIL), (wild, Status.PASS), (wild[:3], Status.FAIL)):
        found = only(judge(now, baselines=[run(1, before)], earlier=earlier))
        assert found.status is status, found.message
        assert ("earlier runs differ by up to" in found.message) is (len(earlier) >= 4)
