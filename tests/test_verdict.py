from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.finding import VERDICTS, Finding, Status, words
from bench.finding import verdict as overall
from bench.judge import training
from bench.results.record.document import Result
from bench.results.stats import steadiness
from tests.samples import result
from tests.test_compare import run_of


def by_id(findings: list[Finding]) -> dict[str, Status]:
    return {f.id: f.status for f in findings}


def test_a_good_result_passes_everything() -> None:
    assert by_id(training.judge(result(), gpu_expected=False)) == {
        "training.lstm-learns": Status.PASS,
        "training.lstm-steady": Status.PASS,
    }


def test_training_on_the_cpu_beside_a_card_fails() -> None:
    found = by_id(training.judge(result(), gpu_expected=True))
    assert found["training.lstm-device"] is Status.FAIL
    found = by_id(training.judge(result(on_gpu=True, device="RTX"), gpu_expected=True))
    assert found["training.lstm-device"] is Status.PASS


@pytest.mark.parametrize(
    ("status", "message", "words", "remedy"),
    [
        (Status.FAIL, "tensorflow 2.21.0 does not see the card; missing: libcudnn.so.9",
         "trained on the processor: tensorflow 2.21.0 does not see the card; missing: libcudnn.so.9", "reinstall"),
        (Status.WARN, "no card", "trained on the processor: no card", "reinstall"),
        (Status.PASS, "tensorflow 2.21.0 computes on RTX 3060",
         "trained on the processor, although in a separate process tensorflow 2.21.0 computes on RTX 3060", "check"),
    ],
)  # fmt: skip
def test_training_on_the_cpu_names_the_library_that_is_missing(
    status: Status, message: str, words: str, remedy: str
) -> None:
    def framework(name: str) -> Finding:
        asked.append(name)
        given = None if status is Status.PASS else "reinstall the CUDA wheels"
        return Finding(id=f"frameworks.{name}", status=status, title="t", message=message, remedy=given)

    asked: list[str] = []
    found = training.judge(result(), gpu_expected=True, framework=framework)[0]
    assert (found.id, found.status) == ("training.lstm-device", Status.FAIL)
    assert words in found.message
    assert remedy in str(found.remedy)
    assert asked == ["tensorflow"]
    training.judge(result(on_gpu=True, device="RTX"), gpu_expected=True, framework=framework)
    training.judge(result(), gpu_expected=False, framework=framework)
    assert asked == ["tensorflow"], "a framework that did its work was asked"


@given(st.floats(0, 1), st.floats(0, 1, exclude_min=True))
def test_accuracy_below_the_bar_never_passes(accuracy: float, bar: float) -> None:
    found = by_id(training.judge(result(accuracy=accuracy, accuracy_bar=bar), gpu_expected=False))
    assert found["training.lstm-learns"] is (Status.PASS if accuracy >= bar else Status.FAIL)


@pytest.mark.parametrize("bar", [0.75, 0.0])
def test_a_loss_that_is_no_number_fails_whatever_the_accuracy(bar: float) -> None:
    found = training.judge(result(accuracy=0.95, accuracy_bar=bar, diverged=True), gpu_expected=False)[0]
    assert (found.id, found.status) == ("training.lstm-learns", Status.FAIL)
    assert "training diverged (the loss is NaN)" in found.message
    assert found.remedy


def test_training_that_was_not_judged_is_unknown() -> None:
    found = by_id(training.judge(result(accuracy=None, partial=True), gpu_expected=False))
    assert found["training.lstm-learns"] is Status.UNKNOWN


def test_other_load_and_spread_are_told() -> None:
    busy = training.judge(result("lstm", 400.0, 401.0, 399.0, other=0.3), gpu_expected=False)[-1]
    assert busy.status is Status.WARN
    assert "0.3 cores" in busy.message
    disturbed = training.judge(result("lstm", 400.0, 401.0, 399.0, other=1.0), gpu_expected=False)[-1]
    assert disturbed.status is Status.FAIL
    assert "1.0 cores" in disturbed.message
    shaky = training.judge(result("lstm", 200.0, 400.0, 300.0), gpu_expected=False)[-1]
    assert shaky.status is Status.WARN
    assert "unsteady" in shaky.message


def beside(others: float, cores: int, waiting: float | None, own: float | None = None) -> Result:
    """A steady result with other programs on ``others`` of ``cores``."""
    made = result("lstm", 400.0, 401.0, 399.0, other=others)
    timed = tuple(
        msgspec.structs.replace(block, usable_cores=cores, own_cpu_cores=own, waiting_share=waiting)
        for block in made.blocks
    )
    return msgspec.structs.replace(made, repeats=(msgspec.structs.replace(made.repeats[0], blocks=timed),))


@pytest.mark.parametrize(
    ("others", "cores", "waiting", "own", "status"),
    [
        (1.5, 16, 0.002, 1.1, Status.PASS),  # a browser beside training on the card
        (0.4, 16, 0.001, 1.0, Status.PASS),
        (1.5, 16, 0.12, 14.5, Status.WARN),  # training on all sixteen threads
        (12.0, 16, 0.4, 4.0, Status.FAIL),
        (1.0, 2, 0.35, 1.0, Status.FAIL),  # one of two cores is busy
        (1.0, 2, 0.004, 1.0, Status.PASS),  # the work needs one core and got it
        (0.1, 2, 0.5, 1.9, Status.PASS),  # its own threads wait for each other
        (0.35, 2, 0.3, 1.6, Status.WARN),
        (1.5, 16, None, 1.1, Status.PASS),  # a kernel that does not count waiting
        (1.0, 2, None, 1.0, Status.FAIL),
        (1.0, 2, None, None, Status.FAIL),
        (1.0, 64, None, None, Status.PASS),
    ],
)
def test_other_load_counts_as_far_as_it_takes_what_the_work_needs(
    others: float, cores: int, waiting: float | None, own: float | None, status: Status
) -> None:
    found = training.judge(beside(others, cores, waiting, own), gpu_expected=False)[-1]
    assert (found.id, found.status) == ("training.lstm-steady", status)
    assert status is Status.PASS or f"{others:.1f} cores" in found.message
    assert status is Status.PASS or found.remedy


@given(st.floats(0, 64), st.integers(1, 64), st.floats(0, 1), st.floats(0, 1))
def test_more_waiting_is_never_judged_better(others: float, cores: int, less: float, more: float) -> None:
    order = [Status.PASS, Status.WARN, Status.FAIL]
    calm, crowded = (
        training.judge(beside(others, cores, share), gpu_expected=False)[-1].status
        for share in sorted((less, more))
    )
    assert order.index(calm) <= order.index(crowded)


@pytest.mark.parametrize(("on_gpu", "status"), [(True, Status.WARN), (False, Status.PASS)])
def test_a_shared_processor_may_scatter_more_than_a_card(on_gpu: bool, status: Status) -> None:
    """8% of the median, as two idle cores of a virtual machine were seen to."""
    made = result("lstm", 400.0, 368.0, 432.0, 368.0, 432.0, on_gpu=on_gpu)
    assert by_id(training.judge(made, gpu_expected=False))["training.lstm-steady"] is status


def test_processes_that_differ_too_much_are_unsteady() -> None:
    """Inside of each process all is calm; two of the five ran at half the speed of the others."""
    levels = (401.0, 398.0, 403.0, 201.0, 205.0)
    wild = run_of(*[[level * (1 + 0.01 * i) for i in (-1, 0, 1, 0)] for level in levels])
    assert wild.samples_per_second.mad / wild.samples_per_second.median < 0.12
    found = training.judge(wild, gpu_expected=False)[-1]
    assert found.status is Status.WARN
    assert "unsteady, its processes gave 401, 398, 403, 201, 205 samples/s" in found.message
    assert "a standard deviation of 37.3%" in found.message
    assert "below 9.5%" in found.message


@pytest.mark.parametrize("number", [3, 5, 8])
def test_processes_as_noisy_as_measured_ones_are_steady(number: int) -> None:
    """Processes that scatter as in docs/evidence/overhead.md: about 1% of 400 runs are called unsteady."""
    rng = np.random.default_rng(number)
    noisy = steadiness.PROCESS_NOISE["cpu"]
    runs = [run_of(*[[400 * rng.lognormal(0, noisy)] * 2 for _ in range(number)]) for _ in range(400)]
    unsteady = sum(steadiness.unlike(one) is not None for one in runs) / len(runs)
    assert 0.0025 <= unsteady <= 0.0225


def test_a_model_without_a_bar_is_timed_and_not_judged_by_its_learning() -> None:
    """The class's deep LSTM stays at chance on a sound machine (docs/evidence/learning-bar.md)."""
    (finding,) = [
        f
        for f in training.judge(result(accuracy=0.5, accuracy_bar=0.0), gpu_expected=False)
        if "learns" in f.id
    ]
    assert finding.status is Status.SKIP
    assert "0.500" in finding.message
    assert "not judged" in finding.message


@given(st.sampled_from(["error", "out-of-memory", "no-backend", "crash", "hang"]), st.text(), st.text())
def test_every_failure_has_a_next_step(kind: str, message: str, detail: str) -> None:
    finding = training.failure("lstm", "jax", kind, message, detail)
    assert finding.status is Status.FAIL
    assert finding.remedy


STATUSES = st.lists(st.sampled_from(list(Status)), max_size=8)


def finding(status: Status) -> Finding:
    return Finding(id="theme.check", status=status, title="t", message="m", remedy="r")


@given(STATUSES, st.booleans())
def test_one_fail_or_unknown_decides(statuses: list[Status], has_gpu: bool) -> None:
    found = overall([finding(s) for s in statuses], has_gpu=has_gpu)
    if {Status.FAIL, Status.UNKNOWN} & set(statuses):
        assert found == "not-ready"
    else:
        assert found == ("ready" if has_gpu else "cpu-only")


def test_the_words_know_of_a_card_that_was_left_out() -> None:
    assert words("cpu-only", has_gpu=False)[1].startswith("works; this machine has no NVIDIA card")
    word, meaning = words("cpu-only", has_gpu=True)
    assert word == "CPU ONLY"
    assert "there is no" not in meaning
    assert "the NVIDIA card was not used" in meaning
    assert words("ready", has_gpu=True) == VERDICTS["ready"]


@pytest.mark.parametrize("status", [Status.WARN, Status.FAIL])
def test_a_warning_without_a_next_step_cannot_be_made(status: Status) -> None:
    with pytest.raises(ValueError, match="remedy"):
        Finding(id="a.b", status=status, title="t", message="m")
