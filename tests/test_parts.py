"""`dlbox parts`: bills are read with clear error messages, judged by their figures, and printed."""

from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import health
from bench.commands.parts import finding
from bench.finding import Finding
from bench.results.store.card_power import remembered_power
from bench.results.store.history import History, default_path
from common.file_access import yaml_lines
from inventory.builds import bill, judge, this_machine
from inventory.builds.bill import Bill, BillError
from inventory.builds.judge import Judgement
from inventory.cards import cards
from inventory.machine.gpu_records import Gpu, Power
from inventory.machine.reading import Reading
from inventory.machine.records import Machine, PciCard, PowerSupply
from tests import samples

ROOT = Path(__file__).parent.parent
TODAY = datetime.date(2026, 3, 10)
TEXT = (ROOT / "inventory" / "builds" / "under-600.yml").read_text()
SHIPPED = {b.name: b for b in bill.shipped()}


def make(tmp_path: Path, **changes: Any) -> Bill:
    """The shipped build under $600 with fields of its parts changed: ``supply={"watts": 200}``."""
    data = yaml.safe_load(TEXT)
    for kind, fields in changes.items():
        if kind == "top":
            data.update(fields)
            continue
        part = next(p for p in data["parts"] if p["kind"] == kind.replace("_", "-"))
        part.update(fields)
        for name in [name for name, value in fields.items() if value is None]:
            del part[name]
    path = tmp_path / "mine.yml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return bill.read(path)


def judged(chosen: Bill, **arguments: Any) -> dict[str, Judgement]:
    found = judge.judge_bill(chosen, today=TODAY, **arguments)
    return {j.id.removeprefix("parts."): j for j in found}


# --- the included bills -----------------------------------------------------------------------


def test_included_builds_meet_their_budgets() -> None:
    assert list(SHIPPED) == ["2017", "under-1000", "under-600"]
    assert SHIPPED["2017"].card == cards.find("GTX 1060")
    assert SHIPPED["2017"].historic
    assert SHIPPED["2017"].total_usd < 1000
    assert SHIPPED["under-1000"].total_usd < 1000
    assert SHIPPED["under-600"].total_usd < 600


def test_recorded_parts_of_2017_keep_their_prices() -> None:
    known = {p.model: p.price_usd for p in SHIPPED["2017"].parts}
    assert known["ASUS B150I PRO GAMING/WIFI/AURA"] == 125
    assert known["Thermaltake Core V1"] == 50


@pytest.mark.parametrize("chosen", SHIPPED.values(), ids=lambda b: b.name)
def test_included_builds_pass_and_mark_estimated_prices(chosen: Bill) -> None:
    for one in judge.judge_bill(chosen, today=chosen.priced_on):
        assert one.status in ("pass", "skip"), one.message
    for part in chosen.parts:
        assert part.price_source or part.note or chosen.note, f"{part.model}: whose price is this?"
    assert chosen.oldest_price <= chosen.priced_on


def test_old_prices_get_a_warning_except_historic_ones() -> None:
    later = SHIPPED["under-1000"].priced_on + datetime.timedelta(days=120)
    stale = {j.id: j for j in judge.judge_bill(SHIPPED["under-1000"], today=later)}["parts.prices"]
    assert stale.status == "warn"
    assert stale.measured == 120
    assert stale.remedy
    assert "2 of 8 estimated" in stale.message
    old = {j.id: j for j in judge.judge_bill(SHIPPED["2017"], today=later)}["parts.prices"]
    assert old.status == "skip"


# --- judging ----------------------------------------------------------------------------------------------


def test_budget(tmp_path: Path) -> None:
    chosen = make(tmp_path)
    assert judged(chosen)["budget"].status == "pass"
    over = judged(chosen, budget_usd=500)["budget"]
    assert over.status == "fail"
    assert (over.measured, over.expected, over.unit) == (589.0, 500, "USD")
    assert over.remedy == "save $89.00; the most expensive part is RTX 3060 12GB at $300.00"
    assert judged(make(tmp_path, top={"budget_usd": None}))["budget"].status == "skip"
    assert judged(chosen, budget_usd=589)["budget"].status == "pass"


def test_quantities_multiply_price_and_power(tmp_path: Path) -> None:
    two = make(tmp_path, card={"quantity": 2})
    assert two.total_usd == 889
    assert judge.card_power(two) == 340
    assert judged(two)["power-connectors"].status == "pass", "one 8-pin plug each"
    assert judged(make(tmp_path, card={"quantity": 3}))["power-connectors"].status == "fail"


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({}, "pass", "308 W of 550 W, with spikes up to 410 W"),
        ({"power_supply": {"watts": 300}}, "fail", "308 W of 300 W"),
        ({"power_supply": {"watts": 350}}, "warn", "above 80% of its rated power"),
        ({"power_supply": {"watts": 500}}, "warn", "the maker of the card recommends 550 W"),
        # A small power supply switches off on power spikes before it is permanently overloaded.
        ({"power_supply": {"watts": 650}, "card": {"power_w": 480}}, "warn", "may switch off"),
        ({"power_supply": {"watts": 650, "atx_version": 3.1}, "card": {"power_w": 480}}, "warn", "above 80%"),
        (
            {"power_supply": {"watts": 800, "atx_version": 3.1}, "card": {"power_w": 480}},
            "pass",
            "618 W of 800 W",
        ),
    ],
)
def test_power_supply(tmp_path: Path, changes: dict[str, Any], status: str, words: str) -> None:
    one = judged(make(tmp_path, **changes))["power-supply"]
    assert one.status == status
    assert words in one.message
    if status != "pass":
        assert re.fullmatch(r"use a power supply of at least \d+ W", one.remedy or "")


@given(
    card=st.floats(1, 2000),
    cpu=st.floats(1, 500),
    watts=st.floats(100, 3000),
    atx=st.sampled_from([None, 2.4, 3.1]),
)
@settings(max_examples=60, deadline=None)
def test_the_recommended_power_supply_passes(
    card: float, cpu: float, watts: float, atx: float | None
) -> None:
    chosen = SHIPPED["under-600"]
    chosen = msgspec.structs.replace(
        chosen,
        processor=msgspec.structs.replace(chosen.processor, peak_w=cpu),
        supply=msgspec.structs.replace(chosen.supply, watts=watts, atx_version=atx),
    )
    one = judge.power_supply(chosen, card)
    if one.remedy:
        advised = float(one.remedy.split()[7])
        assert advised > watts
        better = msgspec.structs.replace(chosen, supply=msgspec.structs.replace(chosen.supply, watts=advised))
        assert judge.power_supply(better, card).status == "pass"


@pytest.mark.parametrize(
    ("card", "wanted", "offered", "status"),
    [
        ("RTX 3060", None, ["6-pin"], "fail"),
        ("GTX 1060", None, ["6-pin"], "pass"),
        ("GTX 1060", None, ["8-pin"], "pass"),
        ("GTX 1080 Ti", None, ["8-pin"], "fail"),
        ("GTX 1080 Ti", None, ["8-pin", "8-pin"], "pass"),
        ("GTX 1650", None, [], "pass"),
        ("RTX 5070", None, ["16-pin"], "pass"),
        ("RTX 5070", None, ["8-pin", "8-pin"], "warn"),
        ("RTX 5070", None, ["8-pin"], "fail"),
        ("RTX 4070", ["8-pin"], ["8-pin"], "pass"),
        ("RTX 3060", None, None, "skip"),
        ("H100", None, ["8-pin"], "skip"),
    ],
)
def test_power_connectors(
    tmp_path: Path, card: str, wanted: list[str] | None, offered: list[str] | None, status: str
) -> None:
    own = {"connectors": wanted} if wanted else {}
    chosen = make(tmp_path, card={"model": card, **own}, power_supply={"connectors": offered})
    assert judged(chosen)["power-connectors"].status == status


def test_incompatible_parts_fail(tmp_path: Path) -> None:
    fit = judged(make(tmp_path, processor={"socket": "AM5"}, memory={"memory_type": "DDR5"}))["fit"]
    assert fit.status == "fail"
    assert "needs socket AM5, the board has AM4" in fit.message
    assert "is DDR5 memory, the board needs DDR4" in fit.message
    case = judged(make(tmp_path, board={"form_factor": "atx"}))["fit"]
    assert "the board is atx, the case has space for mini-itx, micro-atx" in case.message
    blank = {"socket": None, "memory_type": None, "form_factor": None}
    assert judged(make(tmp_path, board=blank))["fit"].status == "skip"


def test_length_and_slots(tmp_path: Path) -> None:
    long = judged(make(tmp_path, card={"length_mm": 330, "slots": 5}))
    assert long["length"].status == long["slots"].status == "fail"
    assert long["length"].message == "the card is 330 mm long, the case has space for 300 mm"
    assert "reference card" in judged(make(tmp_path))["length"].message
    unknown = judged(make(tmp_path, case={"card_length_mm": None, "card_slots": None}))
    assert unknown["length"].status == unknown["slots"].status == "skip"


@pytest.mark.parametrize(
    ("card", "board", "status", "words"),
    [
        ("RTX 3060", (4, 16), "pass", "4.0 x16, 31.5 GB/s; the card supports 4.0 x16"),
        ("RTX 3060", (3, 16), "pass", "3.0 x16, 15.8 GB/s"),
        ("RTX 3060", (4, 8), "warn", "4.0 x8"),
        ("RTX 3060", (2, 16), "warn", "2.0 x16"),
        ("RTX 4060", (4, 16), "pass", "the link will be 4.0 x8"),
        ("RTX 5060", (3, 16), "warn", "the link will be 3.0 x8, 7.9 GB/s"),
        ("RTX 3060", (3, 1), "fail", "too slow for the card"),
    ],
)
def test_pcie_lanes(tmp_path: Path, card: str, board: tuple[int, int], status: str, words: str) -> None:
    slot = {"slot_generation": board[0], "slot_lanes": board[1]}
    chosen = make(tmp_path, card={"model": card}, board=slot, processor={"pcie_generation": 5})
    one = judged(chosen)["pcie-lanes"]
    assert one.status == status
    assert words in one.message


def test_several_cards_share_the_lanes_of_the_processor(tmp_path: Path) -> None:
    one = judged(make(tmp_path, card={"quantity": 2}, processor={"pcie_lanes": 16}))["pcie-lanes"]
    assert "of each of 2 cards will be 3.0 x8" in one.message
    assert one.status == "warn"
    unknown = judged(make(tmp_path, card={"quantity": 2}, processor={"pcie_lanes": None}))["pcie-lanes"]
    assert unknown.status == "skip"


@given(st.integers(1, 64), st.integers(1, 16))
def test_lanes_per_card_never_exceed_the_total(lanes: int, count: int) -> None:
    width = judge._lanes_per_card(lanes, count)
    assert width in (1, 2, 4, 8, 16)
    assert width * count <= lanes or width == 1


def test_missing_memory_or_storage_gives_a_warning(tmp_path: Path) -> None:
    data = yaml.safe_load(TEXT)
    assert judged(make(tmp_path))["whole"].status == "pass"
    data["parts"] = [p for p in data["parts"] if p["kind"] not in ("memory", "storage")]
    path = tmp_path / "bare.yml"
    path.write_text(yaml.safe_dump(data))
    found = judged(bill.read(path))
    assert (found["whole"].status, "no memory and storage" in found["whole"].message) == ("warn", True)
    assert "memory" not in found["fit"].message


def test_a_processor_with_few_lanes_narrows_the_link(tmp_path: Path) -> None:
    one = judged(make(tmp_path, processor={"pcie_lanes": 4}))["pcie-lanes"]
    assert one.status == "warn"
    assert "x4" in one.message
    nothing = {"slot_generation": None, "slot_lanes": None}
    none = make(tmp_path, board=nothing, processor={"pcie_generation": None, "pcie_lanes": None})
    assert judged(none)["pcie-lanes"].status == "skip"


def test_speed_per_dollar_follows_card_and_total_price(tmp_path: Path) -> None:
    one = judged(make(tmp_path))["speed-per-dollar"]
    assert one.measured == pytest.approx(0.70 * 12.74 / 0.589, rel=0.01)
    old = {j.id: j for j in judge.judge_bill(SHIPPED["2017"], today=TODAY)}["parts.speed-per-dollar"]
    assert old.measured == pytest.approx(0.90 * 4.37 / 0.876, rel=0.01)
    assert "FP16" not in old.message
    free = make(
        tmp_path, **{k: {"price_usd": 0} for k in ("card", "processor", "board", "memory", "storage")}
    )
    assert judged(free)["speed-per-dollar"].status == "pass"


def test_every_warning_and_failure_has_a_remedy(tmp_path: Path) -> None:
    bad = make(
        tmp_path,
        top={"budget_usd": 100, "priced_on": "2020-01-01"},
        card={"model": "RTX 5090", "length_mm": 400, "slots": 5},
        processor={"socket": "AM3", "pcie_lanes": 1},
    )
    found = judge.judge_bill(bad, today=TODAY)
    assert {j.status for j in found} == {"fail", "warn", "pass"}
    for one in found:
        assert isinstance(finding(one), Finding)
        assert (one.remedy is not None) is (one.status in ("warn", "fail"))
        assert "\n" not in one.message
    assert judge.worst_status(found) == "fail"
    assert judge.worst_status(()) == "skip"


# --- this machine -----------------------------------------------------------------------------------------


def machine(draw: Reading[float], busy: Reading[int], name: str = "NVIDIA GeForce RTX 3060") -> Machine:
    gpu = Gpu(
        index=0,
        name=Reading.of(name),
        pci_device_id=Reading.of(0x2503),
        memory_total_bytes=Reading.of(12 * 2**30),
        power=Power(draw_w=draw, limit_w=Reading.of(170.0)),
        utilisation_percent=busy,
    )
    return Machine(read_at="2026-03-10T00:00:00+00:00", gpus=(gpu,))


def here(one: Machine, chosen: Bill | None) -> dict[str, Judgement]:
    found = this_machine.judge_machine(
        one, chosen, this_machine.load_power(one), this_machine.power_limit(one)
    )
    return {j.id.removeprefix("parts."): j for j in found}


@pytest.mark.parametrize("watts", [300, 450, 550, 600, 700, 750, 850, 1000])
@pytest.mark.parametrize("name", ["RTX 3060", "RTX 3080", "RTX 4070 SUPER", "RTX 4090", "GTX 1060"])
def test_check_and_parts_judge_a_power_supply_alike(tmp_path: Path, name: str, watts: int) -> None:
    chosen = make(tmp_path, power_supply={"watts": watts}, card={"model": name, "power_w": None})
    parts = judge.power_supply(chosen, judge.card_power(chosen))
    supply = PowerSupply(watts=watts, source="the build", processor_w=judge.processor_power(chosen))
    limit = Power(
        limit_w=Reading.of(float(chosen.card.tdp_w)), default_limit_w=Reading.of(float(chosen.card.tdp_w))
    )
    gpu = Gpu(index=0, name=Reading.of(f"NVIDIA GeForce {name}"), power=limit,
              memory_total_bytes=Reading.of(int(chosen.card.memory_gib * 2**30)))  # fmt: skip
    machine = Machine(read_at="", nvml=Reading.of(True), gpus=(gpu,), power_supply=supply)
    found = next(f for f in health.run(machine) if f.id == "power.supply")
    assert found.status == parts.status
    unknown_processor = msgspec.structs.replace(
        machine, power_supply=PowerSupply(watts=watts, source="--power-supply")
    )
    stated = next(f for f in health.run(unknown_processor) if f.id == "power.supply")
    if watts < (chosen.card.power_supply_w or 0):
        assert {stated.status, parts.status} <= {"warn", "fail"}


def test_power_under_load_is_compared_with_the_power_supply(tmp_path: Path) -> None:
    one = machine(Reading.of(168.4), Reading.of(99))
    found = here(one, make(tmp_path))
    assert found["this-card"].status == "pass"
    assert found["this-power"].status == "pass"
    assert "168 W as measured under load" in found["this-power"].message
    assert here(one, make(tmp_path, power_supply={"watts": 250}))["this-power"].status == "fail"


def test_an_idle_card_is_judged_by_its_power_limit(tmp_path: Path) -> None:
    found = here(machine(Reading.of(9.1), Reading.of(0)), make(tmp_path))["this-power"]
    assert found.status == "pass"
    assert "170 W at most, its power limit (not measured: card 0 is idle" in found.message


def test_the_message_has_measured_power_and_power_limit(tmp_path: Path) -> None:
    busy = machine(Reading.of(90.0), Reading.of(99))
    found = here(busy, make(tmp_path))["this-power"]
    assert found.status == "pass"
    assert found.message.endswith("; the card may draw 170 W")
    tight = here(busy, make(tmp_path, power_supply={"watts": 300}))["this-power"]
    assert tight.status == "warn"
    assert "90 W as measured under load" in tight.message
    assert "so the total is 308 W, and the power supply is rated for 300 W" in tight.message
    assert tight.remedy


def remember(gpu_name: str, hostname: str, **changes: Any) -> None:
    """Store a run with telemetry: 160 W during timed training."""
    kept = samples.document()
    result = msgspec.structs.replace(kept.results[0], telemetry=samples.telemetry(**changes))
    gpu = Gpu(index=0, name=Reading.of(gpu_name))
    host = msgspec.structs.replace(kept.machine.host, hostname=hostname)
    box = msgspec.structs.replace(kept.machine, gpus=(gpu,), host=host)
    kept = msgspec.structs.replace(kept, machine=box, results=(result,))
    history = History(default_path())
    history.save(history.begin(kept), kept, "complete")
    history.close()


def test_power_comes_from_the_last_run_with_this_card() -> None:
    idle = machine(Reading.of(9.0), Reading.of(0))
    assert "the history is empty" in remembered_power(idle)[0].why
    remember("NVIDIA GeForce RTX 3060", "another")
    remember("NVIDIA GeForce RTX 4090", idle.host.hostname)
    remember("NVIDIA GeForce RTX 3060", idle.host.hostname, summary=None)
    assert "no stored run recorded this card under load" in remembered_power(idle)[0].why
    remember("NVIDIA GeForce RTX 3060", idle.host.hostname)
    power, when = remembered_power(idle)
    assert power.value == 160.0, (
        "the idle readings outside timed training do not count, nor does a missing one"
    )
    assert re.fullmatch(r"as maximum of run 4 on \d{4}-\d\d-\d\d", when)
    found = {
        j.id: j
        for j in this_machine.judge_machine(
            idle, SHIPPED["under-600"], power, this_machine.power_limit(idle), when
        )
    }
    assert "160 W as maximum of run 4" in found["parts.this-power"].message
    two = msgspec.structs.replace(idle, gpus=idle.gpus * 2)
    assert not remembered_power(two)[0].ok


def test_unreadable_power_is_unknown_and_never_a_pass(tmp_path: Path) -> None:
    one = machine(Reading.failed("lost"), Reading.of(99))
    gpu = msgspec.structs.replace(one.gpus[0], power=Power(draw_w=Reading.failed("lost")))
    found = here(msgspec.structs.replace(one, gpus=(gpu,)), make(tmp_path))["this-power"]
    assert found.status == "unknown"
    assert found.remedy


def test_a_card_that_differs_from_the_bill_fails(tmp_path: Path) -> None:
    found = here(machine(Reading.of(1.0), Reading.of(0)), make(tmp_path, card={"model": "GTX 1060"}))[
        "this-card"
    ]
    assert found.status == "fail"
    assert (
        found.message
        == "this machine has GeForce RTX 3060 12GB, its bill of materials has 1 x GeForce GTX 1060 6GB"
    )


def test_machines_without_card_driver_or_bill(tmp_path: Path) -> None:
    bare = Machine(read_at="")
    assert {j.status for j in here(bare, make(tmp_path)).values()} == {"skip"}
    undriven = Machine(read_at="", cards=(PciCard(address="0000:01:00.0", device_id=0x2503),))
    found = here(undriven, make(tmp_path))
    assert found["this-card"].status == "pass"
    assert found["this-power"].status == "unknown"
    alone = here(machine(Reading.of(168.4), Reading.of(99)), None)
    assert alone["this-card"].status == "pass"
    assert alone["this-power"].status == "skip"
    laptop = here(machine(Reading.of(1.0), Reading.of(0), "NVIDIA GeForce RTX 3060 Laptop GPU"), None)
    assert "GeForce RTX 3060 Laptop GPU" in laptop["this-card"].message


# --- bad data ---------------------------------------------------------------------------------------------

BAD = {
    "a price in words": ("price_usd: 300", "price_usd: about 300", "`price_usd` is expected to be a number"),
    "a price with a sign": ("price_usd: 300", "price_usd: $300", "got `$300`"),
    "a price below nothing": ("price_usd: 300", "price_usd: -3", "a number >= 0, got `-3`"),
    "a price that is no number": ("price_usd: 300", "price_usd: .nan", "expected a number, got `.nan`"),
    "a price in octal": ("price_usd: 300", "price_usd: 0300", "YAML reads `0300` as 192"),
    "a price on the clock": ("price_usd: 300", "price_usd: 3:00", "YAML reads `3:00` as 180"),
    "colour in a name": ("model: RTX 3060 12GB", 'model: "\\e[31mRTX 3060"', "without control characters"),
    "another maker's card": ("model: RTX 3060 12GB", "model: RX 7600", "is a card by AMD"),
    "a negative wattage": ("tdp_w: 65", "tdp_w: -65", "`tdp_w` is expected to be a number > 0, got `-65`"),
    "a wattage with its unit": ("watts: 550", "watts: 550 W", "`watts` is expected to be a number, got `550 W`"),
    "an unknown card": ("model: RTX 3060 12GB", "model: RTX 3065", 'no card "RTX 3065" in the catalogue; did you mean'),
    "a laptop GPU": ("model: RTX 3060 12GB", "model: RTX 3060 Laptop GPU", "is a laptop GPU"),
    "an unknown kind": ("kind: case", "kind: chassis", "`case`, `cooler` or `other`, got `chassis`"),
    "an unknown field": ("    watts: 550", "    power: 550\n    watts: 550", "`power` is not a field known here"),
    "no kind": ("  - kind: case\n    model", "  - model", "lacks `kind`"),
    "a missing price": ("    price_usd: 300\n", "", "lacks `price_usd`"),
    "a connector from elsewhere": ("[8-pin, 8-pin]", "[8-pin, 7-pin]", "`16-pin`, `6-pin` or `8-pin`, got `7-pin`"),
    "five lanes": ("slot_lanes: 16", "slot_lanes: 5", "got `5`"),
    "a price beyond sense": ("price_usd: 300", "price_usd: 1.0e+300", "is expected to be a number <= 1000000"),
    "a wattage beyond sense": ("watts: 550", "watts: 9.9e+307", "`watts` is expected to be a number <= 10000"),
    "a size beyond sense": ("gb: 500", "gb: 99999999999999999999999999", "`gb` is expected to be a whole number"),
    "a price in quotes": ("price_usd: 300", 'price_usd: "300"', "got `300` in quotes: remove the quotes"),
    "half a card": ("    price_usd: 300", "    quantity: 0.5\n    price_usd: 300", "`quantity` is expected to be a"),
    "a key given twice": ("    price_usd: 300", "    price_usd: 300\n    price_usd: 30", "given twice, first on line"),
    "a date that is none": ("priced_on: 2026-03-01", "priced_on: last March", "a date such as 2026-11-22"),
    "a date that cannot be": ("priced_on: 2026-03-01", "priced_on: 2026-02-30", "looks like a number or date"),
    "an open bracket": ("[8-pin, 8-pin]", "[8-pin, 8-pin", "not valid YAML"),
    "a tab": ("    watts: 550", "\twatts: 550", "not valid YAML"),
    "an alias": ("note: ", "a: &x 1\nb: *x\nnote: ", "aliases (*x) are not supported"),
    "a python object": ("note: ", "x: !!python/object:os.system 1\nnote: ", "not valid YAML"),
    "a number for a name": ("budget_usd: 600", "600: budget", "`600` is expected to be a text key"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), BAD.values(), ids=BAD)
def test_invalid_data_gives_file_line_and_expected_value(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in TEXT
    path = tmp_path / "mine.yml"
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(BillError) as caught:
        bill.read(path)
    message = str(caught.value)
    assert re.match(r"mine\.yml, line \d+: ", message), message
    assert expected in message
    assert "\n" not in message


def test_the_message_has_the_line_of_the_error(tmp_path: Path) -> None:
    path = tmp_path / "mine.yml"
    path.write_text(TEXT.replace("tdp_w: 65", "tdp_w: -65"))
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if "-65" in text)
    with pytest.raises(BillError, match=rf"line {line}: "):
        bill.read(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the file is expected to be a mapping"),
        ("- a\n- b\n", "the file is expected to be a mapping, got a list"),
        ("just words", "got `just words`"),
        ("parts: 3\ntitle: x\npriced_on: 2026-01-01", "`parts` is expected to be a list"),
        ("title: x\npriced_on: 2026-01-01\nparts: []", "has no part of `kind: card`"),
        ("title: x\n---\ntitle: y", "not valid YAML"),
        ("[" * 5000, "bills.yml"),
        ("a: " * 50, "not valid YAML"),
    ],
)
def test_files_that_are_not_bills_are_refused(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "bills.yml"
    path.write_text(text)
    with pytest.raises(BillError) as caught:
        bill.read(path)
    assert expected in str(caught.value)


def test_required_parts_must_occur_exactly_once(tmp_path: Path) -> None:
    data = yaml.safe_load(TEXT)
    path = tmp_path / "mine.yml"
    for kind in ("card", "processor", "board", "power-supply"):
        less = {**data, "parts": [p for p in data["parts"] if p["kind"] != kind]}
        path.write_text(yaml.safe_dump(less))
        with pytest.raises(BillError, match=f"`parts` has no part of `kind: {kind}`"):
            bill.read(path)
        more = {**data, "parts": data["parts"] + [p for p in data["parts"] if p["kind"] == kind]}
        path.write_text(yaml.dump(more, Dumper=_NoAliases))
        with pytest.raises(BillError, match="is a second part of its kind"):
            bill.read(path)


class _NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


@given(st.one_of(st.text(max_size=200), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["title", "parts", "kind", "model", "price_usd", "priced_on", "watts", "x"]), inner, max_size=5
    ),
    max_leaves=12,
).map(lambda data: yaml.dump(data, Dumper=_NoAliases))))  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_bill_or_gives_one_sentence(text: str) -> None:
    try:
        document = yaml_lines.parse(text, "any.yml")
        yaml_lines.convert(document, bill._BillFile)
        said = ""
    except yaml_lines.YamlError as error:
        said = str(error)
    assert "\n" not in said
    assert said == "" or said.startswith("any.yml")


# --- the command ------------------------------------------------------------------------------------------


def run(*arguments: str) -> tuple[int, str, str]:
    import dlbox  # noqa: TID251 - the command itself is under test

    result = CliRunner().invoke(dlbox.cli, ["parts", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_the_list() -> None:
    code, out, _ = run()
    assert code == 0
    for name in SHIPPED:
        assert name in out
    code, out, _ = run("--json")
    document = json.loads(out)
    assert document["command"] == "parts"
    assert [b["name"] for b in document["builds"]] == list(SHIPPED)


def test_a_build_by_name_and_by_file(tmp_path: Path) -> None:
    code, out, _ = run("2017")
    assert code == 0
    assert "GTX 1060 6GB" in out
    assert "PASS    Power supply" in out
    path = tmp_path / "my box.yml"
    path.write_text(TEXT)
    code, out, _ = run(str(path), "--json", "--budget", "100")
    document = json.loads(out)
    assert code == 1
    assert document["schema_version"]
    assert document["build"]["name"] == "my box"
    found = {f["id"]: f["status"] for f in document["findings"]}
    assert found["parts.budget"] == "fail"
    assert len(found) == 10


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("1999",), "there is no build `1999`: name a file or one of 2017, under-1000, under-600"),
        (("nowhere/mine.yml",), "mine.yml cannot be read: No such file or directory"),
        (("a" * 5000,), "there is no build `aaa"),
        (("a/" * 3000,), "cannot be read: File name too long"),
        (("",), "there is no build ``"),
        (("/dev/zero",), "a device, not a regular file"),
        (("/dev/null",), "a device, not a regular file"),
        (("2017", "--budget", "-5"), "--budget must be an amount"),
        (("2017", "--budget", "nan"), "--budget must be an amount"),
        (("--budget", "5"), "--budget needs a build"),
        (("tests",), "tests cannot be read: Is a directory"),
    ],
)
def test_invalid_arguments_give_one_sentence(
    arguments: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    assert words in err


def test_this_machine_in_a_subprocess(tmp_path: Path) -> None:
    path = tmp_path / "mine.yml"
    path.write_text(TEXT)
    command = [sys.executable, str(ROOT / "dlbox.py"), "parts", str(path), "--this", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1), done.stderr
    found = {f["id"] for f in json.loads(done.stdout)["findings"]}
    assert {"parts.this-card", "parts.this-power", "parts.budget"} <= found


def test_broken_file_and_no_colour_in_a_subprocess(tmp_path: Path) -> None:
    path = tmp_path / "mine.yml"
    path.write_text(TEXT.replace("tdp_w: 65", "tdp_w: -65"))
    command = [sys.executable, str(ROOT / "dlbox.py"), "parts"]
    bad = subprocess.run([*command, str(path)], capture_output=True, text=True, timeout=60, check=False)
    assert bad.returncode == 2
    assert bad.stdout == ""
    assert re.fullmatch(r"dlbox: mine\.yml, line \d+: .*\n", bad.stderr)
    environment = {**os.environ, "NO_COLOR": "1", "FORCE_COLOR": ""}
    plain = subprocess.run(
        [*command, "2017"], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert plain.returncode == 0
    assert "\x1b" not in plain.stdout
