"""The telemetry of a card during training: real readers on a simulated NVML, the child process, the summary."""

from __future__ import annotations

import copy
import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import fake_nvml
import msgspec
import psutil
import pynvml
import pytest
import scenario
from hypothesis import given
from hypothesis import strategies as st

from bench.measure import training
from bench.measure.card import summary, watch
from bench.measure.card.summary import Moment, Timed
from bench.measure.events import Block, Event, Imported, TrainingJob
from bench.measure.workloads import WORKLOADS
from bench.results.record.card import HARDWARE, HARDWARE_HEAT, SOFTWARE_HEAT, CardSummary, Telemetry
from inventory.machine.gpu_records import Gpu, Power
from inventory.machine.reading import Reading
from inventory.nvml import card
from tests.samples import ended, said

HERE = Path(__file__).resolve().parent
AT_WORK: dict[str, Any] = {
    "Temperature": {0: 71}, "PowerUsage": 160_000, "PerformanceState": 2, "UtilizationRates": 90,
    "ClockInfo": {1: 1850, 2: 7300}, "CurrentClocksEventReasons": 0x4,
}  # fmt: skip
OWN = 4242
SESSION = [{"pid": OWN, "memory": 512 << 20}]


def content(name: str = "rtx3060_idle", **answers: Any) -> dict[str, Any]:
    made = copy.deepcopy(scenario.load(name).nvml)
    made["gpus"][0].update({**AT_WORK, "ComputeRunningProcesses": SESSION, **answers})
    return made


def watched(name: str = "rtx3060_idle", seconds: int = 11, **answers: Any) -> list[Moment]:
    """One reading per second from second 0 through the real nvidia-ml-py, as stored by the sampler."""
    fake_nvml.install(content(name, **answers))
    sampler = watch.Sampler(clock=iter([0.0, *map(float, range(seconds))]).__next__)
    sampler.worker_pid = OWN
    moments = [sampler._moment(card.sample(0)) for _ in range(seconds)]
    pynvml.nvmlLib = None
    return moments


TEN_SECONDS = [Timed(start=1.0, end=11.0, examples=2000)]


def summed(name: str = "rtx3060_idle", **answers: Any) -> CardSummary:
    made = summary.summary(watched(name, 12, **answers), TEN_SECONDS)
    assert made is not None
    return made


def over_time(*answers: Any) -> dict[str, Any]:
    return {"over_time": list(answers)}


def test_the_summary_of_a_busy_card_is_complete() -> None:
    joules = [1000 * 150 * s for s in range(12)]
    made = summed(
        TotalEnergyConsumption=over_time(*joules),
        ClockInfo={1: over_time(1800, 1850, 1900, 1850), 2: 7300},
        Temperature={0: over_time(60, 65, 70, 72)},
    )
    assert made == CardSummary(
        seconds=10.0,
        readings=11,
        utilisation_mean_percent=90.0,
        utilisation_max_percent=90,
        process_seen=True,
        peak_memory_bytes=512 << 20,
        sm_mhz_min=1850,
        sm_mhz_median=1850,
        sm_mhz_max=1900,
        sm_mhz_limit=2115,
        temperature_max_c=72,
        power_mean_w=150.0,
        harmful_seconds={},
        harmless_seconds={"power limit": 10.0},
        energy_method="energy counter",
        energy_joules_per_1000_samples=pytest.approx(750.0),
        samples_per_second_per_watt=pytest.approx(200 / 150),
        other_programs=(),
        other_programs_percent=None,
    )


def test_pascal_energy_is_integrated_from_power_without_counters() -> None:
    made = summed("gtx1060_idle", PowerUsage=100_000, CurrentClocksEventReasons=0x24)
    assert (made.energy_method, made.energy_joules_per_1000_samples) == ("power samples", pytest.approx(500))
    assert made.harmful_seconds == {SOFTWARE_HEAT: pytest.approx(10.0)}


def test_a_laptop_without_a_power_reading_has_no_energy() -> None:
    made = summed("laptop", PowerUsage={"code": 3}, TotalEnergyConsumption={"code": 3})
    assert (made.energy_method, made.energy_joules_per_1000_samples, made.power_mean_w) == (
        "none",
        None,
        None,
    )
    assert made.samples_per_second_per_watt is None
    assert made.utilisation_max_percent == 90


def test_a_card_in_mig_mode_has_no_utilisation() -> None:
    made = summed("mig", UtilizationRates={"code": 3})
    assert made.utilisation_mean_percent is made.utilisation_max_percent is None
    assert made.process_seen


def test_wsl2_lists_no_programs() -> None:
    made = summed("wsl2", ComputeRunningProcesses={"code": 3}, UtilizationRates={"code": 3})
    assert made.process_seen is made.peak_memory_bytes is made.other_programs is None


def test_missing_event_reasons_do_not_mean_no_slowdown() -> None:
    no = {"code": 3}
    made = summed(CurrentClocksEventReasons=no, CurrentClocksThrottleReasons=no, FieldValues={"code": 13})
    assert made.harmful_seconds is made.harmless_seconds is None


def test_the_counters_of_the_driver_give_the_seconds_of_slowdown() -> None:
    microseconds = [0, 0, *(100_000 * s for s in range(1, 11))]
    made = summed(
        FieldValues={269: 7_000_000, 270: over_time(*microseconds), 271: 0},
        CurrentClocksEventReasons=0x48,
    )
    assert made.harmful_seconds == {HARDWARE_HEAT: pytest.approx(1.0)}


def test_a_counter_in_nanoseconds_is_recognised() -> None:
    nanoseconds = [0, 0, *(100_000_000 * s for s in range(1, 11))]
    made = summed(FieldValues={269: over_time(*nanoseconds), 270: 0, 271: 0}, CurrentClocksEventReasons=0x20)
    assert made.harmful_seconds == {SOFTWARE_HEAT: pytest.approx(1.0)}
    short = over_time(*[0] * 5, 5_000_000)
    made = summed(FieldValues={269: short, 270: 0, 271: 0}, CurrentClocksEventReasons=0)
    assert made.harmful_seconds == {SOFTWARE_HEAT: pytest.approx(0.005)}


def test_a_list_with_unknown_process_ids_does_not_count() -> None:
    """Process ids of another namespace are not in /proc; if a known program is listed, the own process is missing."""
    unknown = {"pid": 2**30, "memory": 1 << 30}
    assert summed(ComputeRunningProcesses=[unknown]).process_seen is None
    here = {"GraphicsRunningProcesses": [{"pid": os.getppid(), "memory": 1}]}
    assert summed(ComputeRunningProcesses=[], **here).process_seen is False
    assert summed(ComputeRunningProcesses=[{"pid": os.getpid(), "memory": 1}], **here).process_seen is False


def test_an_event_reason_counts_although_the_counter_does_not_change() -> None:
    reasons = over_time(0, 0, 0x20, 0x20, 0x20, 0, 0, 0x8, 0)
    made = summed(CurrentClocksEventReasons=reasons)
    assert made.harmful_seconds == {SOFTWARE_HEAT: pytest.approx(3.0), HARDWARE: pytest.approx(1.0)}


def test_a_reloaded_driver_restarts_its_counters() -> None:
    made = summed(
        TotalEnergyConsumption=over_time(900_000, 900_000, 900_000, 1000, 2000, 3000),
        FieldValues={269: 0, 270: over_time(5_000_000, 5_000_000, 5_000_000, 10), 271: 0},
    )
    assert (made.energy_method, made.power_mean_w) == ("power samples", pytest.approx(160))
    assert made.harmful_seconds == {}
    assert summed(TotalEnergyConsumption=912345678).energy_method == "power samples"


def test_other_compute_programs_are_named_but_not_the_desktop() -> None:
    listed = [*SESSION, {"pid": os.getpid(), "memory": 1 << 30}]
    made = summed(ComputeRunningProcesses=listed, GraphicsRunningProcesses=[{"pid": 1, "memory": 1 << 20}])
    assert made.other_programs is not None
    assert [name.rpartition(" ")[2] for name in made.other_programs] == [f"({os.getpid()})"]
    assert made.peak_memory_bytes == 512 << 20


def test_the_driver_reports_the_share_of_other_programs() -> None:
    """One program computes half of the time, one only uses memory, and one is a browser."""
    busy, holder, browser = 4_194_001, 4_194_002, 4_194_003
    rest = [{"pid": OWN, "sm": 90}]
    work = [{"pid": OWN, "sm": 50}, {"pid": busy, "sm": 80}, {"pid": browser, "sm": 22}]
    made = summed(
        ComputeRunningProcesses=[
            *SESSION,
            *({"pid": pid, "memory": 1 << 30} for pid in (busy, holder, browser)),
        ],
        GraphicsRunningProcesses=[{"pid": browser, "memory": 1 << 20}],
        ProcessUtilization=over_time(*[rest, rest, work, work] * 6),
    )
    assert made.other_programs == (f"a program ({busy})", f"a program ({holder})")
    assert made.other_programs_percent == {  # in six of eleven readings these programs were busy
        f"a program ({busy})": pytest.approx(6 / 11 * 80, abs=0.05),
        f"a program ({holder})": 0.0,
        f"a program ({browser})": pytest.approx(6 / 11 * 22, abs=0.05),
    }


@pytest.mark.parametrize(
    "answer",
    [
        {"code": 3}, {"code": 6}, {"code": 13}, [{"pid": 77, "sm": 90}], [{"pid": OWN, "sm": 4_000_000}],
    ],
    ids=["not-supported", "nothing-ran", "old-driver", "numbers-of-elsewhere", "garbage"],
)  # fmt: skip
def test_without_usage_per_process_no_program_is_reported_as_idle(answer: Any) -> None:
    listed = [*SESSION, {"pid": os.getpid(), "memory": 1 << 30}]
    made = summed(ComputeRunningProcesses=listed, ProcessUtilization=answer)
    assert made.other_programs is not None
    assert len(made.other_programs) == 1
    assert made.other_programs_percent is None


def test_the_newest_sample_of_a_program_counts() -> None:
    answer = [{"pid": OWN, "sm": 70, "later": 9}, {"pid": OWN, "sm": 3}]
    fake_nvml.install(content(ProcessUtilization=answer))
    (own,) = [p for p in card.sample(0).processes.value or () if p.pid == OWN]
    pynvml.nvmlLib = None
    assert own.sm_percent == 70


def test_reasons_count_while_the_clock_was_slow() -> None:
    """Ten seconds, five of them at half the clock with one power limit reading; the other five all have it."""
    clock = over_time(*[1850] * 6, *[900] * 6)
    made = summed(ClockInfo={1: clock, 2: 7300}, CurrentClocksEventReasons=over_time(*[4] * 7, 2))
    assert made.slow_shares == {
        "clocks set by the user": pytest.approx(0.8),
        "power limit": pytest.approx(0.2),
    }
    assert summed(ClockInfo={1: 1850, 2: 7300}).slow_shares is None
    no = {"code": 3}
    quiet = summed(ClockInfo={1: 900, 2: 1}, CurrentClocksEventReasons=no, CurrentClocksThrottleReasons=no)
    assert quiet.slow_shares is None
    assert summed(ClockInfo={1: 900, 2: 1}, CurrentClocksEventReasons=0).slow_shares == {}


def test_child_processes_of_the_worker_count_as_the_worker() -> None:
    with psutil.Popen([sys.executable, "-c", "input()"], stdin=-1, start_new_session=True) as leader:
        assert watch.belongs(leader.pid, leader.pid)
        assert not watch.belongs(leader.pid, os.getpid())
        assert watch.belongs(os.getpid(), os.getsid(0))
    assert not watch.belongs(2**30, OWN)


# Summary


def powered(points: list[tuple[float, float]], counter: bool = False) -> list[Moment]:
    return [
        Moment(
            second=second,
            gpu=Gpu(
                index=0,
                power=Power(**{"energy_j" if counter else "draw_w": Reading.of(value)}),  # type: ignore[arg-type]
            ),
        )
        for second, value in points
    ]


TIMES = st.lists(st.floats(0, 100), min_size=2, max_size=30, unique=True).map(sorted)


@given(TIMES, st.floats(1, 500), st.floats(0, 100), st.floats(2.5, 100))
def test_the_energy_of_constant_power_is_power_times_time(
    times: list[float], watts: float, start: float, length: float
) -> None:
    span = Timed(start=start, end=start + length, examples=100)
    covered = min(span.end, times[-1]) - max(span.start, times[0])
    for moments, method in (
        (powered([(t, watts) for t in times]), "power samples"),
        (powered([(t, 1e6 + watts * t) for t in times], counter=True), "energy counter"),
    ):
        found, how = summary.mean_power_w(moments, [span])
        if covered >= summary.LEAST_ENERGY_S:
            assert (found, how) == (pytest.approx(watts, rel=1e-3), method)
        else:
            assert (found, how) == (None, "none")


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1e9)), min_size=2, unique_by=lambda p: p[0]))
def test_the_increase_of_a_counter_is_never_negative(points: list[tuple[float, float]]) -> None:
    ordered = sorted(points)
    start, end = ordered[0][0], ordered[-1][0]
    risen = summary.rise(ordered, start, end)
    falls = any(b[1] < a[1] for a, b in itertools.pairwise(ordered))
    assert risen is None if falls else risen == pytest.approx(ordered[-1][1] - ordered[0][1])


@given(
    st.lists(st.floats(0, 60), max_size=40).map(sorted),
    st.lists(st.tuples(st.floats(0, 60), st.floats(0, 10), st.integers(1, 999)), max_size=4),
)
def test_any_readings_can_be_summarised_and_saved(
    times: list[float], spans: list[tuple[float, float, int]]
) -> None:
    timed = [Timed(start=s, end=s + d, examples=n) for s, d, n in spans]
    made = summary.telemetry(powered([(t, 100.0) for t in times]), timed)
    assert msgspec.json.decode(msgspec.json.encode(made), type=Telemetry) == made
    assert (made.gpu is None) == (not times)


def test_a_long_run_is_thinned_out_without_losing_event_reasons() -> None:
    moments = watched(seconds=1500, CurrentClocksEventReasons=over_time(*[0] * 700, 0x40, 0))
    kept = summary.series(moments)
    assert len(kept.second) == len(kept.power_w) == 300
    assert sum(1 for mask in kept.event_reasons if mask) == 1


def test_the_telemetry_is_of_the_card_with_the_worker() -> None:
    busy = [
        Moment(second=float(s), gpu=Gpu(index=0, utilisation_percent=Reading.of(99)), own_seen=False)
        for s in range(5)
    ]
    own = [
        Moment(second=s + 0.1, gpu=Gpu(index=1, utilisation_percent=Reading.of(5)), own_seen=True)
        for s in range(5)
    ]
    span = [Timed(start=0.0, end=5.0, examples=1)]
    assert summary.telemetry([*busy, *own], span).gpu == 1
    blind = [msgspec.structs.replace(m, own_seen=None) for m in [*busy, *own]]
    assert summary.telemetry(blind, span).gpu == 0


# The child process


def probe(folder: Path, made: dict[str, Any]) -> tuple[str, ...]:
    file = folder / "nvml.json"
    file.write_text(json.dumps(made))
    return (sys.executable, str(HERE / "fake_probe.py"), str(file))


def until(condition: Any, limit_s: float = 20.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


def run_during_training(sampler: watch.Sampler, readings: int) -> Telemetry:
    """Deliver ``readings`` while a worker (this process) trains, or simulate a fault."""
    with sampler:
        assert sampler._thread is not None
        sampler.on_event(msgspec.structs.replace(said(400.0)[0], pid=os.getpid()))
        until(lambda: len(sampler._moments) >= readings or sampler._trouble)
        sampler.on_event(block(sampler._clock() - sampler._start))
        child = sampler._child
    assert child is not None
    assert child.process is None or child.process.poll() is not None
    assert not sampler._thread.is_alive()
    return sampler.telemetry()


def block(seconds: float) -> Event:
    return Block(
        steps=10, examples=320, seconds=seconds, other_cpu_cores=0.0, trained_seconds=seconds,
        examples_seen=640, done_share=1.0,
    )  # fmt: skip


def test_readings_of_the_child_process_arrive(tmp_path: Path) -> None:
    made = content(ComputeRunningProcesses=[{"pid": os.getpid(), "memory": 3 << 30}])
    seen = run_during_training(watch.Sampler(command=probe(tmp_path, made), every_s=0.02), 5)
    assert seen.trouble == ""
    assert seen.summary is not None
    assert (seen.summary.process_seen, seen.summary.peak_memory_bytes) == (True, 3 << 30)
    assert seen.samples.sm_mhz[:3] == (1850,) * 3
    assert len(seen.timed) == 1


def test_the_time_between_two_processes_does_not_count() -> None:
    now = [0.0]
    sampler = watch.Sampler(command=(sys.executable, "-c", ""), clock=lambda: now[0])
    for now[0] in (3.0, 203.0):
        with sampler:
            now[0] += 10
            sampler.on_event(said(400.0)[0])
            sampler.on_event(block(4.0))
            now[0] += 1
    assert sampler.telemetry().timed == ((6.0, 10.0), (17.0, 21.0))
    assert [t.process for t in sampler._timed] == [0, 1]


def test_the_energy_of_a_process_comes_from_its_own_readings() -> None:
    """1 J per second in both processes, and 900 J between them, which must not count for the first one."""
    moments = [*watched("rtx3060_idle", 6, TotalEnergyConsumption=over_time(*[1000 * s for s in range(6)]))]
    second = watched(
        "rtx3060_idle", 6, TotalEnergyConsumption=over_time(*[905_000 + 1000 * s for s in range(6)])
    )
    moments += [msgspec.structs.replace(m, second=m.second + 6, process=1) for m in second]
    timed = [
        summary.Timed(start=1.0, end=5.5, examples=100),
        summary.Timed(start=7.0, end=10.5, examples=100, process=1),
    ]
    assert summary.mean_power_w(moments, timed) == (pytest.approx(1.0), "energy counter")


@pytest.mark.parametrize(
    ("answer", "words"),
    [({"crash": "SIGSEGV"}, "crashed (SIGSEGV)"), ({"hang": 60}, "did not answer in time")],
)
def test_readings_before_a_crash_or_hang_of_the_child_are_kept(
    tmp_path: Path, answer: dict[str, Any], words: str
) -> None:
    made = content(PowerUsage=over_time(150_000, 150_000, 150_000, 150_000, answer))
    sampler = watch.Sampler(command=probe(tmp_path, made), every_s=0.02, silence_s=5.0)
    seen = run_during_training(sampler, 99)
    assert words in seen.trouble
    assert len(seen.samples.second) == 4


def test_a_card_that_falls_off_the_bus_is_reported(tmp_path: Path) -> None:
    made = content(handle=over_time(*[{"code": 0}] * 3, {"code": 15}))
    seen = run_during_training(watch.Sampler(command=probe(tmp_path, made), every_s=0.02), 99)
    assert seen.trouble == "card 0: the card has fallen off the bus"
    assert len(seen.samples.second) == 3


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("/does/not/exist",), "could not be started"),
        ((sys.executable, "-c", "raise SystemExit(3)"), "code 3"),
        ((sys.executable, "-c", "print('noise'); print('{}'); print('[' * 9999)"), "ended"),
    ],
)
def test_a_child_process_without_output_is_reported(command: tuple[str, ...], words: str) -> None:
    seen = run_during_training(watch.Sampler(command=command), 1)
    assert words in seen.trouble
    assert seen.gpu is seen.summary is None


def test_nvml_that_does_not_start_is_reported(tmp_path: Path) -> None:
    seen = run_during_training(watch.Sampler(command=probe(tmp_path, {"init": {"code": 18}})), 1)
    assert "different versions" in seen.trouble


def test_training_without_a_card_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a sampler was made")

    monkeypatch.setattr("bench.measure.card.watch.Sampler", never)
    plan = training.Plan(backend="jax", seed=0, repeats=1, train_seconds=1.0)
    result, _ = ended(training.train(WORKLOADS["lstm"], plan, lambda _: None, run=talks, parent_pid=1))
    assert result is not None
    assert result.telemetry is None


def talks(job: TrainingJob, on_event: Any, **_: Any) -> None:
    for event in said(400.0, 400.0, on_gpu=True):
        on_event(msgspec.structs.replace(event, pid=os.getpid()) if isinstance(event, Imported) else event)


def test_a_training_result_has_telemetry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(watch.Sampler.__init__, "__kwdefaults__", {
        **watch.Sampler.__init__.__kwdefaults__, "command": probe(tmp_path, content())})  # fmt: skip
    plan = training.Plan(backend="jax", seed=0, repeats=2, train_seconds=1.0, watch_cards=True)
    result, _ = ended(training.train(WORKLOADS["lstm"], plan, lambda _: None, run=talks, parent_pid=1))
    assert result is not None
    assert result.telemetry is not None
    assert len(result.telemetry.timed) == 2
