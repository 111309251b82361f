"""`dlbox compare`: significance, refusals, terminal output and JSON."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from bench.results.record.document import Document, Repeat, Result, to_json
from bench.results.stats import derived, intervals
from bench.results.stats.compare import Comparison, compare, in_words
from bench.results.store import lookup
from bench.results.store.history import History, default_path
from bench.results.terminal import comparison
from tests.conftest import Command
from tests.samples import blocks, document, machine, result

GOLDEN = Path(__file__).parent / "golden" / "compare.txt"


def run_of(*processes: Sequence[float], name: str = "lstm", **changes: Any) -> Result:
    """A result with these samples/s of the timed blocks of each process."""
    repeats = tuple(
        Repeat(seed=seed, accuracy=0.95 if seed == 0 else None, blocks=blocks(*rates))
        for seed, rates in enumerate(processes)
    )
    return msgspec.structs.replace(derived.recompute(result(name), repeats, partial=False), **changes)


def measured(level: float, spread: float, rng: np.random.Generator, number: int = 5) -> list[list[float]]:
    """``number`` processes that scatter by ``spread``, each with ten blocks that drift slowly about it."""
    found = []
    for _ in range(number):
        process, drift, rates = level * rng.lognormal(0, spread), 0.0, []
        for _ in range(10):
            drift = 0.7 * drift + rng.normal(0, 0.007)
            rates.append(process * math.exp(drift))
        found.append(rates)
    return found


def one(a: Result, b: Result) -> Any:
    (pair,) = compare(document(results=(a,)), document(results=(b,))).pairs
    return pair


RATES = st.lists(st.lists(st.floats(1.0, 1e5), min_size=1, max_size=6), min_size=1, max_size=6)


@settings(max_examples=50, deadline=None)
@given(RATES)
def test_a_result_never_differs_from_itself(processes: list[list[float]]) -> None:
    found = intervals.estimate(processes, processes)
    assert found.ratio == pytest.approx(1)
    assert not found.significant


@settings(max_examples=50, deadline=None)
@given(RATES, RATES)
def test_swapping_the_sides_inverts_the_ratio(a: list[list[float]], b: list[list[float]]) -> None:
    there, back = intervals.estimate(a, b), intervals.estimate(b, a)
    assert there.ratio * back.ratio == pytest.approx(1)
    assert (there.method, there.significant) == (back.method, back.significant)
    if there.low is None or there.high is None or back.low is None or back.high is None:
        assert (there.low, there.high) == (back.low, back.high) == (None, None)
    elif there.low > 1e-100 and there.high < 1e100:
        assert there.low * back.high == pytest.approx(1)
        assert there.low <= there.ratio * (1 + 1e-12)
        assert there.high >= there.ratio * (1 - 1e-12)


@settings(max_examples=50, deadline=None)
@given(RATES, RATES, st.floats(0.01, 100))
def test_the_unit_does_not_matter(a: list[list[float]], b: list[list[float]], factor: float) -> None:
    scaled = [[[rate * factor for rate in rates] for rates in side] for side in (a, b)]
    assert intervals.estimate(*scaled).ratio == pytest.approx(intervals.estimate(a, b).ratio)


def share_significant(ratio: float, spread: float, *, trials: int = 300, number: int = 5) -> float:
    rng = np.random.default_rng(20261122)
    found = [
        intervals.estimate(measured(400, spread, rng, number), measured(400 * ratio, spread, rng, number))
        for _ in range(trials)
    ]
    return sum(f.significant for f in found) / trials


def test_a_slow_down_of_30_percent_is_found() -> None:
    assert share_significant(0.7, 0.03) > 0.99
    assert share_significant(0.7, 0.02, number=3) > 0.9


def test_1_percent_in_3_percent_noise_is_not_called_a_difference() -> None:
    assert share_significant(0.99, 0.03) <= 0.05


def test_false_alarms_are_as_rare_as_stated() -> None:
    assert share_significant(1.0, 0.03, trials=600) <= 2 * (1 - intervals.CONFIDENCE)


def test_the_interval_covers_the_truth_as_often_as_stated() -> None:
    rng = np.random.default_rng(5)
    found = [intervals.estimate(measured(400, 0.03, rng), measured(320, 0.01, rng, 3)) for _ in range(400)]
    covered = sum(f.low is not None and f.high is not None and f.low <= 0.8 <= f.high for f in found)
    assert covered / len(found) >= intervals.CONFIDENCE - 0.015


@pytest.mark.parametrize(
    ("freedom", "share", "value"),  # of the usual table
    [(1, 0.975, 12.7062), (2, 0.995, 9.9248), (4, 0.995, 4.6041), (8, 0.995, 3.3554), (30, 0.975, 2.0423)],
)
def test_quantiles_of_student_s_t_equal_published_tables(freedom: float, share: float, value: float) -> None:
    assert intervals.student_t(share, freedom) == pytest.approx(value, abs=1e-4)


def test_a_quick_run_is_compared_with_the_variance_of_the_full_one() -> None:
    full = run_of(*[[level] * 8 for level in (400.0, 404.0, 396.0, 402.0, 398.0)])
    pair = one(full, run_of([395.0] * 8))
    assert (pair.method, pair.outcome, pair.processes) == ("borrowed", "not-significant", (5, 1))
    assert one(full, run_of([300.0] * 8)).outcome == "slower"
    assert one(run_of([300.0] * 8), full).outcome == "faster"


def test_one_process_per_side_is_called_too_few() -> None:
    """Blocks that agree to a thousandth inside each process: still no claim below the floor."""
    rng = np.random.default_rng(1)
    steady = [[level * rng.lognormal(0, 0.001) for _ in range(20)] for level in (400, 372, 340)]
    seven = one(run_of(steady[0]), run_of(steady[1]))
    assert (seven.method, seven.outcome) == ("within", "not-significant")
    assert seven.high < 1
    assert "too few to estimate the variation between processes" in seven.reason
    assert "10%" in seven.reason
    assert one(run_of(steady[0]), run_of(steady[2])).outcome == "slower"


def test_extreme_speeds_do_not_overflow() -> None:
    found = intervals.estimate([[1e-300, 1e300], [1e300, 1e-300]], [[1e300, 1e-250], [1.0, 1e-300]])
    assert not found.significant
    assert intervals.estimate([[1e-300]], [[1e300]]).ratio > 1e300


def test_one_block_gives_no_interval_and_no_significance() -> None:
    pair = one(run_of([400.0]), run_of([100.0]))
    assert (pair.low, pair.high, pair.significant) == (None, None, False)
    assert "too few blocks" in pair.reason


FIVE = [[400.0, 401.0, 402.0]] * 5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fingerprint": "0" * 16}, "different work"),
        ({"precision": "mixed_float16"}, "different precision: float32 in A, mixed_float16 in B"),
        ({"batch_size": 64}, "different batch size: 32 in A, 64 in B"),
        ({"backend": "torch"}, "different backend: tensorflow in A, torch in B"),
        ({"partial": True}, "B was interrupted"),
        ({"accuracy": 0.5}, "B did not learn"),
        ({"accuracy_bar": 0.0, "diverged": True}, "the training of B diverged (the loss is NaN)"),
        ({"accuracy": None}, "the accuracy of B was not measured"),
        ({"repeats": ()}, "B has no timed block"),
    ],
)
def test_results_that_are_not_comparable_are_refused_with_the_reason(
    change: dict[str, Any], words: str
) -> None:
    pair = one(run_of(*FIVE), run_of(*FIVE, **change))
    assert pair.outcome == "not-comparable"
    assert words in pair.reason
    assert (pair.ratio, pair.low, pair.high, pair.significant) == (None, None, None, False)


def test_each_result_is_matched_with_the_most_similar_one() -> None:
    """Two batches and two backends of one workload, in another order on the other side."""
    a = (
        run_of(*FIVE),
        run_of(*FIVE, batch_size=128),
        run_of(*FIVE, backend="torch"),
        run_of(*FIVE, name="gru"),
    )
    b = (run_of(*FIVE, name="cnn-lstm"), a[2], a[1], run_of(*FIVE, batch_size=64))
    found = compare(document(results=a), document(results=b)).pairs
    assert [(p.workload, p.backend, p.batch_size, p.outcome) for p in found] == [
        ("lstm", "tensorflow", 32, "not-comparable"),
        ("lstm", "tensorflow", 128, "not-significant"),
        ("lstm", "torch", 32, "not-significant"),
        ("gru", "tensorflow", 32, "not-comparable"),
        ("cnn-lstm", "tensorflow", 32, "not-comparable"),
    ]
    assert [p.reason for p in found if "only in" in p.reason] == ["only in A", "only in B"]


def test_two_machines_are_compared_and_their_differences_listed() -> None:
    host = msgspec.structs.replace(machine().host, hostname="box-2", cpu_model="Faster CPU")
    here, there = document(results=(run_of(*FIVE),)), document(
        results=(run_of(*[[440.0, 441.0]] * 5, versions={"keras": "3.16.0"}),), machine=machine(host=host)
    )  # fmt: skip
    found = compare(here, there)
    assert not found.same_machine
    assert found.pairs[0].outcome == "faster"
    told = {d.what: (d.a, d.b) for d in found.differences}
    assert told["host"] == ("testbox", "box-2")
    assert told["processor"] == ("Example CPU, 2 threads", "Faster CPU, 2 threads")
    assert told["keras"] == ("3.15.1", "3.16.0")
    assert compare(here, here).differences == ()


def two_runs() -> tuple[Document, Document]:
    rng = np.random.default_rng(7)
    a = document(
        run_id=3,
        results=(
            run_of(*measured(400, 0.01, rng)),
            run_of(*measured(380, 0.01, rng), name="gru"),
            run_of(*measured(1100, 0.01, rng, 1), name="cnn-lstm"),
            run_of(*FIVE, name="gru", backend="torch"),
        ),
    )
    b = document(
        run_id=4,
        started_at="2026-11-23T09:30:00+00:00",
        results=(
            run_of(*measured(300, 0.01, rng)),
            run_of(*measured(381, 0.01, rng), name="gru"),
            run_of(*measured(1120, 0.01, rng, 1), name="cnn-lstm"),
            run_of(*FIVE, name="gru", backend="torch", precision="mixed_bfloat16"),
        ),
    )
    return a, b


@pytest.fixture
def stored(own_data_folder: Path) -> History:
    """A history whose runs 1 and 2 are the two above, and whose third was interrupted."""
    history = History(default_path())
    for made in two_runs():
        history.save(history.begin(made), made, "complete")
    history.save(history.begin(document()), document(partial=True), "partial")
    return history


def test_the_table_equals_the_golden_file(capsys: pytest.CaptureFixture[str]) -> None:
    """After a wanted change: DLBOX_GOLDEN=write pytest tests/test_compare.py, and look at the difference."""
    a, b = two_runs()
    comparison.show(compare(a, b, a_name="run 3", b_name="run 4"), Console(highlight=False, width=80))
    shown = capsys.readouterr().out
    if os.environ.get("DLBOX_GOLDEN") == "write":
        GOLDEN.write_text(shown)
    assert shown == GOLDEN.read_text()
    table = [line for line in shown.splitlines() if line.startswith(" ")]
    assert max(map(len, table)) <= 80


def test_comparing_a_run_with_itself_is_reported(dlbox: Command, stored: History) -> None:
    told = dlbox("compare", "2", "last")
    assert told.returncode == 0
    assert "A and B are the same run" in told.stdout
    assert json.loads(dlbox("compare", "2", "last", "--json").stdout)["same_run"] is True
    assert json.loads(dlbox("compare", "1", "2", "--json").stdout)["same_run"] is False


def test_markup_in_a_name_is_printed_literally(capsys: pytest.CaptureFixture[str]) -> None:
    odd = run_of(*FIVE, backend="[/red]")
    named = machine(host=msgspec.structs.replace(machine().host, hostname="[bold"))
    comparison.show(
        compare(document(results=(odd,)), document(results=(odd,), machine=named)),
        Console(highlight=False, width=80),
    )
    shown = capsys.readouterr().out
    assert "[/red]" in shown
    assert "[bold" in shown


def test_the_command_accepts_numbers_words_and_files(dlbox: Command, stored: History, tmp_path: Path) -> None:
    for arguments in (["1", "2"], ["previous", "last"], []):
        done = dlbox("compare", *arguments)
        assert done.returncode == 1, "lstm is slower in run 2"
        assert done.stderr == ""
        assert "SLOWER: B is slower in lstm" in done.stdout
        assert "\x1b" not in done.stdout
    file = tmp_path / "here.json"
    file.write_text(to_json(two_runs()[1]))
    told = dlbox("compare", str(file), "2", "--json")
    assert told.returncode == 0
    found = msgspec.json.decode(told.stdout, type=Comparison)
    assert (found.schema_version, found.command, found.slower) == (1, "compare", False)
    assert found.a.name == str(file)
    assert [p.outcome for p in found.pairs] == ["not-significant"] * 4
    back = json.loads(dlbox("compare", "2", "1", "--json").stdout)
    assert back["pairs"][0]["outcome"] == "faster"
    assert back["pairs"][0]["ratio"] == pytest.approx(1 / 0.75, rel=0.05)


def test_every_reason_is_listed_with_its_models(dlbox: Command, tmp_path: Path) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    first = (run_of(*FIVE), run_of(*FIVE, name="gru"), run_of(*FIVE, name="bilstm"))
    second = (run_of(*FIVE, batch_size=64), run_of(*FIVE, name="cnn"))
    for path, results in zip(paths, (first, second), strict=True):
        path.write_text(to_json(document(results=results)))
    done = dlbox("compare", *map(str, paths))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert (
        "lstm: different batch size: 32 in A, 64 in B; gru, bilstm: only in A; cnn: only in B" in done.stderr
    )


def test_a_slow_down_beside_other_programs_is_uncertain(dlbox: Command, tmp_path: Path) -> None:
    """Other programs used 1.5 cores during B, so B only appears slower: exit code 1, outcome "disturbed"."""
    halved = run_of(*[[rate / 2 for rate in rates] for rates in FIVE])
    busy = tuple(
        msgspec.structs.replace(repeat, blocks=blocks(*[200.0, 201.0, 199.0], other=1.5))
        for repeat in halved.repeats
    )
    disturbed = msgspec.structs.replace(halved, repeats=busy)
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, made in zip(paths, (run_of(*FIVE), disturbed), strict=True):
        path.write_text(to_json(document(results=(made,))))
    done = dlbox("compare", *map(str, paths))
    assert done.returncode == 1
    assert "SLOWER" not in done.stdout
    assert "UNCERTAIN: other programs were running during lstm (0.499)" in done.stdout
    assert "other programs used 1.5 cores during B, so its speed is too low" in done.stdout
    told = json.loads(dlbox("compare", *map(str, paths), "--json").stdout)
    assert (told["slower"], told["disturbed"]) == (False, True)
    assert (told["pairs"][0]["outcome"], told["pairs"][0]["significant"]) == ("disturbed", True)
    back = dlbox("compare", *map(str, reversed(paths)))
    assert (back.returncode, "FASTER" in back.stdout) == (0, False)
    assert "cores during A" in back.stdout


def test_an_unsteady_side_is_reported() -> None:
    wild = run_of([400.0] * 3, [404.0] * 3, [398.0] * 3, [200.0] * 3, [205.0] * 3)
    pair = one(run_of(*FIVE), wild)
    assert "B is unsteady: its processes gave 400, 404, 398, 200, 205 samples/s" in pair.reason
    inside = run_of(*[[400.0, 300.0, 500.0]] * 5)
    assert "A is unsteady (MAD 25.0% over its blocks)" in one(inside, run_of(*FIVE)).reason


def test_runs_without_comparable_results_are_shown_with_exit_code_2(dlbox: Command, tmp_path: Path) -> None:
    names = []
    for batch in (32, 64):
        path = tmp_path / f"{batch}.json"
        path.write_text(to_json(document(results=(run_of(*FIVE, batch_size=batch),))))
        names.append(str(path))
    done = dlbox("compare", *names, "--json")
    assert done.returncode == 2
    assert "different batch size: 32 in A, 64 in B" in done.stderr
    assert json.loads(done.stdout)["pairs"][0]["outcome"] == "not-comparable"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "not a file"),
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[]", "is not a result"),
        (b"[" * 100_000, "is not"),
        (b'{"schema_version": 1, "command": "plan"}', "is not a result of dlbox bench or ready"),
        (b'{"schema_version": 99}', "newer dlbox"),
        (
            b"".join(msgspec.json.encode(document(run_id=n)) + b"\n" for n in (1, 2, 3)),
            "contains 3 runs, expected one: import them with `dlbox history import`",
        ),
        (msgspec.json.encode(document()) + b"\n\nnot a run\n", "is not JSON"),
        (b"[1]\n[2]\n", "is not a result"),
        (b"1\n2\n", "is not a result"),
        (to_json(document(results=(), command="check")).encode(), "has no training results"),
    ],
)
def test_an_invalid_file_is_refused_with_one_sentence(
    dlbox: Command, tmp_path: Path, stored: History, content: bytes | None, words: str
) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    done = dlbox("compare", "1", str(path))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("dlbox: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert words in done.stderr


@pytest.mark.parametrize(
    ("which", "words"),
    [
        ("99", "no run 99"),
        ("9" * 30, "no run 9"),
        ("0" * 30 + "7", "no run 0"),
        ("9" * 5000, "no run 9{39}…:"),
        ("lasst", "not a file"),
        ("/", "cannot read /"),
        ("a\0b", "cannot read"),
    ],
)
def test_a_missing_run_is_refused_with_one_sentence(own_data_folder: Path, which: str, words: str) -> None:
    history = History(default_path())
    with pytest.raises(lookup.SourceError, match=words) as caught:
        lookup.find(which, history)
    assert "\n" not in str(caught.value)


def test_last_and_previous_are_complete_runs_with_results(own_data_folder: Path, stored: History) -> None:
    assert [lookup.find(word, stored)[0] for word in ("last", "previous")] == ["run 2", "run 1"]
    with pytest.raises(lookup.SourceError, match="no complete run"):
        lookup.find("last", None)
    stored.save(2, document(partial=True), "partial")
    with pytest.raises(lookup.SourceError, match="contains one complete run; `dlbox bench` adds one"):
        lookup.find("previous", stored)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_raise_source_error(data: bytes) -> None:
    with pytest.raises(lookup.SourceError):
        lookup.decode(data, "x")


def test_a_block_of_zero_seconds_is_refused() -> None:
    broken = run_of(*FIVE)
    first = msgspec.structs.replace(broken.repeats[0].blocks[0], seconds=0.0)
    repeat = msgspec.structs.replace(broken.repeats[0], blocks=(first,))
    pair = one(run_of(*FIVE), msgspec.structs.replace(broken, repeats=(repeat,)))
    assert "impossible time" in pair.reason


def test_the_last_line_lists_models_that_were_not_compared() -> None:
    other = msgspec.structs.replace(result("gru"), fingerprint="0" * 16)
    console = Console(width=80, file=io.StringIO(), no_color=True)
    comparison.show(
        compare(document(results=(result("lstm"), result("gru"))), document(results=(result("lstm"), other))),
        console,
    )
    assert isinstance(console.file, io.StringIO)
    last = " ".join(console.file.getvalue().split("NO DIFFERENCE:")[1].split())
    assert last == "every model is equal within 2%. Not compared: gru (1 of 2)."


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.56, 1.22, "44% slower to 22% faster"),
        (0.90, 0.98, "2% to 10% slower"),
        (1.05, 1.5, "5% to 50% faster"),
    ],
)
def test_an_interval_is_given_in_words(low: float, high: float, words: str) -> None:
    assert in_words(low, high) == words


def shown(a: Result, b: Result) -> str:
    console = Console(file=io.StringIO(), width=200)
    comparison.show(compare(document(results=(a,)), document(results=(b,))), console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_difference_within_noise_is_undecided_and_names_the_repeats() -> None:
    rng = np.random.default_rng(3)
    a, b = (run_of(*measured(level, 0.03, rng, 4)) for level in (100, 104))
    pair = one(a, b)
    assert pair.outcome == "not-significant"
    line = shown(a, b).splitlines()[-1]
    assert line.startswith("UNDECIDED: ")
    assert f"B may be {in_words(pair.low, pair.high)}" in line
    assert f"--repeats {pair.repeats_to_decide} on both sides" in line


def test_single_processes_are_undecided_and_need_repeats() -> None:
    line = shown(run_of([100, 104, 98, 101]), run_of([102, 99, 105, 100])).splitlines()[-1]
    assert line.startswith("UNDECIDED: ")
    assert "--repeats 5" in line


def test_equal_speeds_are_no_difference() -> None:
    a, b = (run_of(*[[level + wobble] * 6 for wobble in (0.0, 0.1, -0.1, 0.05)]) for level in (100, 100.2))
    assert shown(a, b).splitlines()[-1] == "NO DIFFERENCE: every model is equal within 2%."


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 8), st.floats(0.005, 0.2), st.floats(0.9, 1.1), st.integers(0, 2**31))
def test_the_named_repeats_would_decide(number: int, spread: float, ratio: float, seed: int) -> None:
    """With that many processes of the same spread and means, the interval excludes 1; with one less it does not."""
    rng = np.random.default_rng(seed)
    a, b = measured(100, spread, rng, number), measured(100 * ratio, spread, rng, number)
    needed = intervals.repeats_to_decide(a, b)
    if needed is None or needed <= 3:
        return
    logs = [[math.log(float(np.median(blocks))) for blocks in side] for side in (a, b)]
    deviation = math.sqrt(sum((len(side) - 1) * np.var(side, ddof=1) for side in logs) / (2 * number - 2))
    target = max(abs(np.mean(logs[1]) - np.mean(logs[0])), math.log(1.02))
    widths = [
        intervals.student_t(0.995, 2 * n - 2) * deviation * math.sqrt(2 / n) for n in (needed - 1, needed)
    ]
    assert widths[1] <= target * (1 + 1e-6)
    assert widths[0] >= target * (1 - 1e-6)
