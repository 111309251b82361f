"""Judging what the card did: each sign alone, and cards, drivers and systems that do not tell everything."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.finding import Finding, Status
from bench.health.checks.thermal import HARMLESS
from bench.judge import card
from bench.results.record.card import POWER_BRAKE, SOFTWARE_HEAT, CardSummary, Telemetry
from bench.results.record.document import Result, from_json, to_json
from inventory.machine.reading import Reading
from inventory.machine.records import Machine, PciCard
from tests.samples import document, machine, result, telemetry

CARD = (PciCard(address="0000:01:00.0", device_id=0x2503, driver="nvidia"),)
PASS, WARN, FAIL, SKIP, UNKNOWN = (status.value for status in Status)


def box(**host: Any) -> Machine:
    made = machine(cards=CARD)
    return msgspec.structs.replace(made, host=msgspec.structs.replace(made.host, **host))


def trained(**changes: Any) -> Result:
    """On a card, with ``changes`` to the summary of its telemetry."""
    seen = telemetry()
    summary = msgspec.structs.replace(seen.summary, **changes)
    return result(on_gpu=True, device="cuda:0", telemetry=msgspec.structs.replace(seen, summary=summary))


def judged(made: Result, on: Machine | None = None) -> dict[str, Finding]:
    return {f.id.rpartition("-")[2]: f for f in card.judge(made, on or box())}


def statuses(made: Result, on: Machine | None = None) -> dict[str, str]:
    return {name: f.status.value for name, f in judged(made, on).items()}


def test_a_card_that_worked_passes() -> None:
    found = judged(trained())
    assert {f.status for f in found.values()} == {Status.PASS}
    assert (
        found["worked"].message == "91% busy on average, 91% at most, this process used 600 MiB of its memory"
    )
    assert "power limit" in found["slowdown"].message


@pytest.mark.parametrize("telemetry", [None, telemetry()])
def test_without_a_card_there_is_nothing_to_say(telemetry: Telemetry | None) -> None:
    assert card.judge(result(telemetry=telemetry), machine()) == []


@pytest.mark.parametrize(
    ("changes", "expected", "words"),
    [
        ({"process_seen": False, "peak_memory_bytes": None}, FAIL, "this process used none of its memory"),
        ({"utilisation_max_percent": 0, "utilisation_mean_percent": 0.0}, FAIL, "it was idle"),
        ({"peak_memory_bytes": None}, PASS, "in its list"),
        ({"process_seen": None, "peak_memory_bytes": None}, PASS, "does not list"),
        ({"utilisation_max_percent": None, "utilisation_mean_percent": None}, PASS, "600 MiB"),
        ({"utilisation_max_percent": None, "process_seen": None}, SKIP, "cannot confirm it"),
        ({"readings": 2, "process_seen": False}, SKIP, "too few readings"),
    ],
)
def test_the_gpu_did_the_work(changes: dict[str, Any], expected: str, words: str) -> None:
    found = judged(trained(**changes))["worked"]
    assert (found.status.value, words in found.message) == (expected, True), found.message


@pytest.mark.parametrize("environment", ["container", "wsl2"])
def test_where_process_numbers_mean_nothing_none_is_missed(environment: str) -> None:
    made = trained(process_seen=False, peak_memory_bytes=None, other_programs=("a (1)",))
    assert statuses(made, box(environment=environment))["worked"] == PASS
    assert statuses(made, box(environment=environment))["alone"] == SKIP


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"harmful_seconds": {SOFTWARE_HEAT: 0.1}}, PASS),
        ({"harmful_seconds": {SOFTWARE_HEAT: 3.0}}, WARN),
        ({"harmful_seconds": {POWER_BRAKE: 0.01}}, FAIL),
        ({"harmful_seconds": None, "harmless_seconds": None}, SKIP),
        ({"harmless_seconds": {"idle": 9.0, "power limit": 14.0}}, PASS),
    ],
)
def test_slowdown(changes: dict[str, Any], expected: str) -> None:
    assert statuses(trained(**changes))["slowdown"] == expected


HALF: dict[str, Any] = {"sm_mhz_median": 1057, "harmless_seconds": {}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, FAIL),
        ({"slow_shares": {"idle": 1.0}}, FAIL),
        ({"slow_shares": {"power limit": 0.95}}, WARN),
        ({"slow_shares": {"power limit": 0.95}, "harmful_seconds": {SOFTWARE_HEAT: 0.1}}, FAIL),
        ({"slow_shares": {"power limit": 0.03}, "harmless_seconds": {"power limit": 0.5}}, FAIL),
        ({"slow_shares": {"sync boost": 1.0}}, FAIL),
        ({"slow_shares": {"display": 1.0}}, FAIL),
        ({"slow_shares": {"clocks set by the user": 1.0}}, FAIL),
        ({"slow_shares": {"clocks set by the user": 1.0, "power limit": 1.0}}, FAIL),
        ({"utilisation_mean_percent": 12.0}, SKIP),
        ({"sm_mhz_limit": None}, SKIP),
        ({"sm_mhz_median": 1600}, PASS),
    ],
)
def test_a_clock_at_half_speed(changes: dict[str, Any], expected: str) -> None:
    assert statuses(trained(**{**HALF, **changes}))["clock"] == expected


def test_a_clock_that_a_fault_holds_down_is_one_fault() -> None:
    found = statuses(trained(**HALF, harmful_seconds={POWER_BRAKE: 9.0}))
    assert (found["slowdown"], found["clock"]) == (FAIL, SKIP)


def test_a_laptop_may_be_held_down() -> None:
    assert statuses(trained(**HALF), box(is_laptop=True))["clock"] == WARN
    set_low = trained(**HALF, slow_shares={"clocks set by the user": 1.0})
    assert statuses(set_low, box(is_laptop=True))["clock"] == FAIL


def test_a_clock_that_somebody_set_low_says_how_to_take_it_back() -> None:
    found = judged(trained(**HALF, slow_shares={"clocks set by the user": 0.98}))["clock"]
    assert "clocks set by the user for 98% of that time" in found.message
    assert "nvidia-smi -rgc" in str(found.remedy)
    assert "nvidia-smi -rac" in str(found.remedy)


@pytest.mark.parametrize(
    ("others", "shares", "expected", "words"),
    [
        (("python3 (7)",), {"python3 (7)": 45.0}, FAIL, "python3 (7) 45%"),
        (("a (7)", "b (8)"), {"a (7)": 12.0, "b (8)": 11.0}, FAIL, "a (7) 12%, b (8) 11%"),
        (("python3 (7)",), {"python3 (7)": 8.0}, WARN, "python3 (7) 8%"),
        (("jupyter (7)",), {"jupyter (7)": 0.0}, PASS, "jupyter (7) had memory"),
        (("python3 (7)",), None, WARN, "which the driver does not report: python3 (7)"),
        ((), {"chrome (9)": 12.0}, PASS, "no other program"),
        ((), {"blender (9)": 60.0}, WARN, "blender (9) 60%"),
        ((), None, PASS, "no other program"),
        (None, None, SKIP, "does not list"),
    ],
    ids=["busy", "two", "a-little", "idle", "untold", "browser", "renderer", "alone", "no-list"],
)
def test_a_second_program_is_judged_by_what_it_did(
    others: tuple[str, ...] | None, shares: dict[str, float] | None, expected: str, words: str
) -> None:
    found = judged(trained(other_programs=others, other_programs_percent=shares))["alone"]
    assert (found.status.value, words in found.message) == (expected, True), found.message


def test_nothing_read_is_no_fault_while_the_framework_tells() -> None:
    dead = Telemetry(trouble="the process that queries NVML crashed (SIGSEGV)")
    found = judged(result(on_gpu=True, device="cuda:0", telemetry=dead))
    assert {f.status.value for f in found.values()} == {SKIP}
    assert all("SIGSEGV" in f.message for f in found.values())
    gone = msgspec.structs.replace(box(), nvml=Reading.failed("the library is not installed"))
    assert "not installed" in judged(result(on_gpu=True), gone)["worked"].message


def test_nothing_read_and_the_framework_on_the_processor_is_unknown() -> None:
    assert statuses(result(on_gpu=False, telemetry=Telemetry(trouble="x"))) == {"worked": UNKNOWN}
    assert statuses(result(on_gpu=False, telemetry=telemetry())) == {"worked": SKIP}


PROGRAMS = st.sampled_from(["python3 (7)", "chrome (8)", "a program (9)"])
ANY: dict[str, st.SearchStrategy[Any]] = {
    "readings": st.integers(0, 9),
    "utilisation_max_percent": st.integers(0, 100),
    "process_seen": st.booleans(),
    "peak_memory_bytes": st.integers(0, 1 << 36),
    "sm_mhz_median": st.integers(0, 3000),
    "sm_mhz_limit": st.integers(0, 3000),
    "temperature_max_c": st.integers(0, 110),
    "harmful_seconds": st.dictionaries(st.sampled_from([SOFTWARE_HEAT, POWER_BRAKE]), st.floats(0.01, 15)),
    "harmless_seconds": st.dictionaries(st.sampled_from(["idle", "power limit"]), st.floats(0.01, 15)),
    "slow_shares": st.dictionaries(st.sampled_from(list(HARMLESS.values())), st.floats(0, 1)),
    "other_programs": st.lists(PROGRAMS, max_size=3).map(tuple),
    "other_programs_percent": st.dictionaries(PROGRAMS, st.floats(0, 100), max_size=3),
}


@given(st.fixed_dictionaries({}, optional={name: st.none() | s for name, s in ANY.items()}), st.booleans())
def test_whatever_a_driver_leaves_out_is_judged(changes: dict[str, Any], on_gpu: bool) -> None:
    known = {"seconds": 14.5, "readings": 9, **changes}
    known["readings"] = known["readings"] or 0
    if known.get("utilisation_max_percent") is not None:
        known["utilisation_mean_percent"] = float(known["utilisation_max_percent"])
    made = result(on_gpu=on_gpu, telemetry=Telemetry(gpu=0, summary=CardSummary(**known)))
    for finding in card.judge(made, box()):
        assert finding.message
        if finding.status is Status.UNKNOWN:
            assert not on_gpu


def test_what_was_kept_before_there_was_telemetry_still_reads() -> None:
    text = to_json(document()).replace('"telemetry": null', '"unknown_to_old": 1')
    assert "telemetry" not in text
    assert from_json(text) == document()
    seen = document(results=(trained(),))
    assert from_json(to_json(seen)) == seen
