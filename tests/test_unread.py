"""No check passes without its readings: replace each reading of each scenario in turn and run the checks again."""

from __future__ import annotations

import contextlib
import json
import math
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import scenario
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import health
from bench.finding import Finding, Status, verdict
from bench.health.check import Check, Subject, reach
from bench.judge import card, plausibility, scaling, training
from bench.results.record.card import CardSummary, Telemetry
from bench.results.record.document import Kernel, Spread, from_json, to_json
from bench.results.record.figures import ForcedGeneric, InputShare, Probes, Scaling, Work
from inventory.machine import gpu_records, records
from inventory.machine.gpu_records import Gpu
from inventory.machine.reading import Reading
from inventory.machine.records import Machine
from inventory.nvml import bounds
from tests.samples import document, result, telemetry
from tests.samples import machine as own_machine

Place = tuple[str | int, ...]
CHECKS = [check for check in health.checks() if check.scope in ("machine", "gpu")]


class Recorded(Reading[Any], frozen=True):
    """A reading that records the use of its value."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("value", "ok") and not name.startswith("__"):
            USED.add(id(self))
        return super().__getattribute__(name)


USED: set[int] = set()


def walked(record: Any, at: Place = ()) -> Iterator[tuple[Place, Reading[Any]]]:
    """All readings of a record with their paths, including nested ones."""
    for name in record.__struct_fields__:
        entry = getattr(record, name)
        if isinstance(entry, Reading):
            yield (*at, name), entry
        elif isinstance(entry, msgspec.Struct):
            yield from walked(entry, (*at, name))
        elif isinstance(entry, tuple):
            for number, one in enumerate(entry):
                if isinstance(one, msgspec.Struct):
                    yield from walked(one, (*at, name, number))


def replaced(record: Any, at: Place, new: Any) -> Any:
    """A copy of ``record`` with ``new`` at one path."""
    first, *rest = at
    if isinstance(first, int):
        return tuple(replaced(one, tuple(rest), new) if n == first else one for n, one in enumerate(record))
    entry = replaced(getattr(record, first), tuple(rest), new) if rest else new
    return msgspec.structs.replace(record, **{first: entry})


def named(at: Place) -> str:
    """ "gpus.temperatures.gpu_c": the path without the index of the card."""
    return ".".join(part for part in at if isinstance(part, str))


_SAMPLED = {"temperature_c": "temperatures.gpu_c", "draw_w": "power.draw_w"}


def first_of(place: str) -> str:
    """The path of the first reading of a value: "gpus.samples.draw_w" -> "gpus.power.draw_w"."""
    rest = place.removeprefix("gpus.samples.")
    return place if rest == place else f"gpus.{_SAMPLED.get(rest, rest)}"


def declared(check: Check) -> tuple[set[str], set[str]]:
    """Paths that a check requires (except alternatives), and all paths that it can use."""

    def place(path: str) -> str:
        if check.scope == "machine":
            return path
        root, _, rest = path.partition(".")
        return {"gpu": f"gpus.{rest}", "pci": f"cards.{rest}", "machine": rest}[root]

    needed = {place(paths) for paths in check.needs if " | " not in paths}
    listed = {place(path) for paths in check.needs for path in paths.split(" | ")}
    return needed, listed | {place(path) for path in check.optional}


def garbage(name: str, value: Any) -> list[Any]:
    """Values that a defective sensor, a wrong unit or a damaged file can give instead of ``value``."""
    if isinstance(value, bool):
        return [7, -1, "yes", None]
    if isinstance(value, int | float):
        return [math.nan, math.inf, -1, -273, 1e18, 2**80, "42", True, None]
    if isinstance(value, str):
        return ["", " \t", "\x1b[31mred", "a\u202eb", "x" * 10_000, 5, None]
    if isinstance(value, tuple) and name == "fan_percent":
        return [(), (999,), (-1, 30), (math.nan,), 7, None]
    return [None, math.nan, -1, ""]


BAD: tuple[Reading[Any], ...] = (
    Reading.failed("NVML reports an unknown error", 999),
    Reading.no_permission("no permission", 4),
    Reading.not_supported("not supported", 3),
    Reading.not_in_source(),
)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Machine]:
    """All scenarios with a card that answers: only these have checks that pass on readings of a card."""
    found = {}
    for name in scenario.names():
        one = scenario.load(name)
        if "timeout_s" not in one.expect:
            found[name] = one.machine(tmp_path_factory.mktemp(name))
    return found


def judged(check: Check, machine: Machine) -> list[Finding]:
    if check.id == "gpu.count":
        return [check.apply(machine, None)]
    if check.scope == "machine":
        return [check.apply(machine)]
    return [check.apply(s, suffix=f":{s.gpu.index}") for s in health.subjects(machine)]


def passes(check: Check, machine: Machine) -> set[str]:
    return {f.id for f in judged(check, machine) if f.status is Status.PASS}


def test_each_check_uses_only_readings_that_it_declares(machines: dict[str, Machine]) -> None:
    undeclared = set()
    for machine in machines.values():
        recorded = machine
        for at, reading in walked(machine):
            recorded = replaced(recorded, at, Recorded(*msgspec.structs.astuple(reading)))
        places = {id(reading): named(at) for at, reading in walked(recorded)}
        for check in CHECKS:
            for one in [recorded] if check.scope == "machine" else health.subjects(recorded):
                USED.clear()
                with contextlib.suppress(
                    Exception
                ):  # ends the check early: the readings used until then count
                    check.judge(one)
                used = {places[key] for key in USED if key in places}
                undeclared |= {
                    (check.id, place) for place in map(first_of, used) if place not in declared(check)[1]
                }
    assert undeclared == set()


def test_declared_readings_exist() -> None:
    machine = Machine(
        read_at="", cards=(records.PciCard(address="0000:01:00.0", device_id=1),), gpus=(Gpu(index=0),)
    )
    subject = Subject(machine=machine, gpu=machine.gpus[0], pci=machine.cards[0])
    for check in CHECKS:
        source: Any = machine if check.scope == "machine" else subject
        for path in [p for paths in check.needs for p in paths.split(" | ")] + list(check.optional):
            if not path.startswith(("gpus.", "cards.")):
                assert isinstance(reach(source, path), Reading), (check.id, path)


def test_no_check_passes_without_a_required_reading(machines: dict[str, Machine]) -> None:
    tried = 0
    for name, machine in machines.items():
        before = {check.id: passes(check, machine) for check in CHECKS}
        for at, reading in walked(machine):
            if not reading.ok:
                continue
            place = named(at)
            users = [check for check in CHECKS if before[check.id] and place in declared(check)[0]]
            kinds = (*BAD, *(Reading(value=one) for one in garbage(str(at[-1]), reading.value)))
            for bad in kinds if users else ():
                broken = replaced(machine, at, bad)
                for check in users:
                    same_card = {"gpus": at[1], "cards": at[1]}.get(str(at[0])) if len(at) > 1 else None
                    for finding in judged(check, broken):
                        tried += 1
                        if (
                            check.scope == "gpu"
                            and same_card is not None
                            and finding.id[-1:] != str(same_card)
                        ):
                            continue
                        told = (name, finding.id, place, bad, finding.message)
                        assert finding.status is not Status.PASS, told
                        if finding.status in (Status.WARN, Status.FAIL, Status.UNKNOWN):
                            assert finding.remedy, told
    assert tried > 5_000


_MATCHED = ("name", "pci_device_id", "pci_address", "memory_total_bytes")
"""What the catalogue's card is found by, on which any check may rest."""


def test_an_impossible_value_is_never_better_than_a_failed_reading(machines: dict[str, Machine]) -> None:
    """For optional readings too: an impossible value must not turn another status into a pass."""
    for name in (
        "rtx3060_idle",
        "h200_idle",
        "gtx1060_idle",
        "laptop",
        "hot_and_throttling",
        "fan_stands_still",
    ):
        machine = machines[name]
        for at, reading in walked(machine):
            if not reading.ok:
                continue
            base = replaced(machine, at, Reading.failed("not read"))
            users = [c for c in CHECKS if named(at) in declared(c)[1] or at[-1] in _MATCHED]
            allowed = {check.id: passes(check, base) for check in users}
            for bad in garbage(str(at[-1]), reading.value):
                broken = replaced(machine, at, Reading(value=bad))
                for check in users:
                    assert passes(check, broken) <= allowed[check.id], (name, check.id, at, bad)


@pytest.mark.parametrize("reading", BAD[:2])
def test_an_unread_sensor_that_the_verdict_does_not_use_leaves_the_verdict_ready(
    machines: dict[str, Machine], reading: Reading[Any]
) -> None:
    machine = machines["rtx3060_idle"]
    for place in ("fan_percent", "fan_rpm", "power.draw_w", "clocks.sm_mhz", "display_active", "gsp_version"):
        broken = replaced(machine, ("gpus", 0, *place.split(".")), reading)
        findings = health.run(broken)
        assert verdict(findings, has_gpu=True) == "ready", place
        assert all(f.remedy for f in findings if f.status is Status.WARN)


def test_three_reported_cases_of_unread_values(machines: dict[str, Machine]) -> None:
    machine = machines["rtx3060_idle"]

    def status(check: str, place: str) -> Status:
        broken = replaced(machine, ("gpus", 0, *place.split(".")), Reading.failed("unknown error", 999))
        return next(f.status for f in health.run(broken) if f.id == check)

    assert status("thermal.temperature", "temperatures.gpu_c") is Status.UNKNOWN
    assert status("thermal.fan", "temperatures.gpu_c") is Status.WARN
    assert status("thermal.fan", "fan_percent") is Status.WARN
    assert status("gpu.firmware", "gsp_version") is Status.WARN
    assert status("power.draw", "power.limit_w") is Status.WARN


def test_every_reading_has_its_bounds() -> None:
    """A new sensor is in one of the tables of ``bounds``, or is a text or a list."""
    for record in (*vars(records).values(), *vars(gpu_records).values()):
        if not (isinstance(record, type) and issubclass(record, msgspec.Struct)):
            continue
        for name, hint in typing.get_type_hints(record).items():
            if typing.get_origin(hint) is not Reading:
                continue
            (kind,) = typing.get_args(hint)
            if kind is bool:
                assert name in bounds.FLAGS, name
            elif kind in (int, float):
                assert name in bounds.RANGES, name
            else:
                assert kind is not Any, name


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(bounds.RANGES)),
    st.one_of(
        st.floats(), st.integers(), st.text(max_size=300), st.booleans(), st.none(), st.lists(st.integers())
    ),
)
def test_only_a_number_within_its_bounds_is_a_valid_value(name: str, value: Any) -> None:
    low, high = bounds.RANGES[name]
    number = isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    sound = number and low <= value <= high
    found = bounds.checked(name, Reading(value=value))
    assert found.ok is sound
    if not sound:
        assert found.state == "failed"
        assert len(found.why) < 80
        assert found.why.isprintable()


NEEDED = {
    "worked": (),
    "slowdown": ("harmful_seconds", "seconds"),
    "clock": ("sm_mhz_median", "sm_mhz_limit"),
    "alone": ("other_programs", "process_seen"),
}
"""What each finding on the card under training rests on; that it worked is shown by either of two."""


@pytest.mark.parametrize("bad", [None, math.nan, math.inf, -1, 10**9, 0], ids=str)
def test_training_is_not_judged_by_unread_sensors(bad: Any) -> None:
    seen = telemetry()
    assert seen.summary is not None
    on = msgspec.structs.replace(
        own_machine(), cards=(records.PciCard(address="0000:01:00.0", device_id=0x2503),)
    )
    for field in CardSummary.__struct_fields__:
        now = getattr(seen.summary, field)
        if bad is None and field in ("seconds", "readings"):
            continue  # these two are never null
        if bad is not None and (isinstance(now, tuple | str) or field == "process_seen"):
            continue
        of_dict = isinstance(now, dict) or field in ("slow_shares", "other_programs_percent")
        value: Any = {"power brake": bad} if bad is not None and of_dict else bad
        summary = msgspec.structs.replace(seen.summary, **{field: value})
        made = result(on_gpu=True, device="cuda:0", telemetry=msgspec.structs.replace(seen, summary=summary))
        for finding in card.judge(made, on):
            what = finding.id.rpartition("-")[2]
            zero_is_sound = bad == 0 and field == "harmful_seconds"
            if field in NEEDED[what] and not zero_is_sound and not (field == "seconds" and bad == 10**9):
                assert finding.status is not Status.PASS, (field, bad, finding)
            assert finding.remedy or finding.status in (Status.PASS, Status.SKIP)


def test_without_telemetry_no_check_of_the_card_passes() -> None:
    on = msgspec.structs.replace(
        own_machine(), cards=(records.PciCard(address="0000:01:00.0", device_id=0x2503),)
    )
    for seen in (None, Telemetry(), Telemetry(summary=CardSummary(seconds=5.0, readings=9))):
        found = card.judge(result(on_gpu=True, device="cuda:0", telemetry=seen), on)
        assert found
        assert {f.status for f in found} == {Status.SKIP}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_an_impossible_figure_does_not_pass(bad: float) -> None:
    kernel = Kernel(path="fused", evidence="cuDNN")
    work = Work(flop_per_sample=5e7, bytes_per_sample=1e5)
    probes = Probes(backend="torch", device="cpu", on_gpu=False, matmul_tflops={"fp32": bad})
    input_ = InputShare(resident_samples_per_second=1.0, pipeline_samples_per_second=1.0, share=bad)
    forced = ForcedGeneric(samples_per_second=1.0, speedup=bad)
    scaled = Scaling(engine="e", devices=("gpu:0", "gpu:1"), batch_per_device=32, replicas_differ_by=bad,
                     speedup=bad, efficiency=bad)  # fmt: skip
    made = result(work=work, kernel=kernel, forced_generic=forced, accuracy=bad, on_gpu=True,
                  share_of_measured_peak=bad, achieved_tflops=0.1, devices=2, scaling=scaled)  # fmt: skip
    made = msgspec.structs.replace(
        made, input=input_, samples_per_second=Spread(median=bad, mad=0.1, values=(bad,))
    )
    found = [*plausibility.judge(made), *plausibility.judge_probes(probes), *scaling.judge(made)]
    found += training.judge(made, gpu_expected=False)
    about = ("plausible", "fused-pays", "probes.ran", "replicas", "scaling", "learns", "steady")
    judged_ = {end: f.status for f in found for end in about if f.id.endswith(end)}
    assert set(judged_) == set(about)
    assert Status.PASS not in judged_.values(), judged_
    waits = next(f for f in found if f.id.endswith("-input"))
    assert waits.status is (
        Status.PASS if bad == -1.0 else Status.UNKNOWN
    )  # faster than resident data: noise


def test_findings_without_remedy_from_an_older_version_are_read() -> None:
    made = document(
        findings=(
            Finding(
                id="a.b",
                status=Status.UNKNOWN,
                title="t",
                message="m",
                remedy="check again: dlbox check",
            ),
        )
    )
    old = json.loads(to_json(made))
    del old["findings"][0]["remedy"]
    assert from_json(json.dumps(old)) == made


def test_an_unknown_finding_requires_a_remedy() -> None:
    with pytest.raises(ValueError, match="no remedy"):
        Finding(id="a.b", status=Status.UNKNOWN, title="t", message="m")
