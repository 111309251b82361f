"""Ranges of measured speed ("bands", in bands.yml) of known cards, and the comparison of results with them.

``python -m bench.judge.bands FILE SOURCE`` prints entries for bands.yml from a `dlbox history export`.
"""

from __future__ import annotations

import datetime
import functools
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec

from bench.finding import TRAINING, Finding, Status
from bench.judge import plausibility
from bench.measure.workloads import BACKENDS, WORKLOADS
from bench.results.record.document import Document, Result
from bench.results.stats import compare, derived
from bench.results.store import archive
from bench.results.store.lookup import LARGEST_EXPORT, SourceError, bounded
from common.file_access import inputs, yaml_lines
from inventory.cards import cards
from inventory.machine.records import Machine

PATH = Path(__file__).with_name("bands.yml")

Positive = Annotated[float, msgspec.Meta(gt=0)]
Name = Annotated[str, msgspec.Meta(min_length=1)]


class Band(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The expected samples/s of one workload on one card, from ``low`` to ``high``. ``source``: who measured it, and
    on which machine."""

    card: Name
    workload: Name
    fingerprint: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
    backend: Name
    precision: Name
    batch: Annotated[int, msgspec.Meta(ge=1)]
    low: Positive
    high: Positive
    runs: Annotated[int, msgspec.Meta(ge=1)]
    measured_on: datetime.date
    source: Name


class _BandFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    bands: tuple[Band, ...]


def read(path: Path = PATH) -> tuple[Band, ...]:
    """The bands of a file. Raises yaml_lines.YamlError: one sentence with the line."""
    document = yaml_lines.read(path)
    bands = yaml_lines.convert(document, _BandFile).bands
    seen: dict[tuple[object, ...], int] = {}
    for number, band in enumerate(bands):
        where = ("bands", number)
        try:
            cards.find(band.card)
        except cards.UnknownCard as error:
            raise document.error((*where, "card"), str(error)) from None
        if band.workload not in WORKLOADS:
            raise document.error(
                (*where, "workload"),
                f"unknown workload {band.workload!r}: expected one of {', '.join(WORKLOADS)}",
            )
        if band.backend not in BACKENDS:
            raise document.error(
                (*where, "backend"),
                f"unknown backend {band.backend!r}: expected one of {', '.join(BACKENDS)}",
            )
        if band.low >= band.high:
            raise document.error((*where, "low"), f"`low` {band.low:g} is not below `high` {band.high:g}")
        key = (
            cards.find(band.card).name,
            band.workload,
            band.fingerprint,
            band.backend,
            band.precision,
            band.batch,
        )
        if key in seen:
            line = document.line(("bands", seen[key]))
            raise document.error(where, f"line {line} has the same band: remove one of them")
        seen[key] = number
    return bands


@functools.cache
def shipped() -> tuple[Band, ...]:
    return read()


def judge(
    result: Result, machine: Machine, bands: Iterable[Band] | None = None
) -> tuple[Finding | None, str]:
    """A finding and "" if this card has a band; else None and the reason ("" on a machine without a card)."""
    card = plausibility.card(machine)
    if card is None or not result.on_gpu:
        return None, ""
    known_bands = shipped() if bands is None else bands
    mine = [
        b
        for b in known_bands
        if cards.find(b.card).name == card.name and (b.workload, b.backend) == compare.key(result)[:2]
    ]
    same = [b for b in mine if (b.precision, b.batch) == compare.key(result)[2:4]]
    current = [b for b in same if b.fingerprint == result.fingerprint]
    if not current:
        why = (
            "the band is for another version of the workload"
            if same
            else f"{card.name} was not measured with it yet"
        )
        return None, f"no band of measured speed ({why})"
    band, measured = current[0], result.samples_per_second.median
    slow = not measured >= band.low  # NaN must not pass
    where = "below" if slow else "above" if measured > band.high else "within"
    return Finding(
        theme=TRAINING,
        check="band",
        subject=result.label,
        status=Status.FAIL if slow else Status.PASS,
        title=f"{result.label} is as fast as on other machines with this card",
        message=f"{measured:,.0f} samples/s, {where} the {band.low:,.0f} to {band.high:,.0f} of {band.runs} runs on "
        f"{card.name} ({band.source}, {band.measured_on})",
        measured=round(measured, 3),
        expected=round(band.low, 3),
        unit="samples/s",
        remedy="find the cause: run `dlbox check --stress 5`, close other programs, compare versions with `dlbox plan`"
        if slow
        else None,
    ), ""


def entries(documents: Iterable[Document], source: str) -> list[Band]:
    """Bands from runs, from the lowest to the highest bound of their confidence intervals. Unusable results are
    left out."""
    found: dict[tuple[str, tuple[str, str, str, int], str], list[tuple[Result, str]]] = {}
    for document in documents:
        card = plausibility.card(document.machine)
        for result in document.results if card and not document.partial else ():
            plain = (
                result.devices == 1 and result.setting is None
            )  # bands apply only to the default setting on one card
            if (
                plain
                and result.on_gpu
                and compare.refusal(result, result) is None
                and derived.interval(result).low
            ):
                key = (card.name if card else "", compare.key(result)[:4], result.fingerprint)
                found.setdefault(key, []).append((result, document.started_at))
    made = []
    for (card_name, (workload, backend, precision, batch), fingerprint), runs in found.items():
        spans = [derived.interval(result) for result, _ in runs]
        made.append(
            Band(
                card=card_name, workload=workload, fingerprint=fingerprint, backend=backend, precision=precision,
                batch=batch, low=round(min(s.low or 0.0 for s in spans), 1),
                high=round(max(s.high or 0.0 for s in spans), 1), runs=len(runs),
                measured_on=datetime.date.fromisoformat(max(at for _, at in runs)[:10]), source=source,
            )
        )  # fmt: skip
    return made


def main(arguments: list[str]) -> int:
    import yaml

    if len(arguments) != 2 or not all(arguments):
        sys.stderr.write(
            "usage: python -m bench.judge.bands FILE SOURCE (FILE: an export of the history, SOURCE: who measured)\n"
        )
        return 2
    try:
        path = Path(arguments[0])
        with inputs.open_regular(path, arguments[0]) as file:
            made = entries(archive.documents(bounded(file, LARGEST_EXPORT), path.name), arguments[1])
    except (SourceError, inputs.InputError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if not made:
        sys.stderr.write(
            "the export has no complete run on a card with at least three processes per model that learned\n"
        )
        return 1
    sys.stdout.write(yaml.safe_dump([msgspec.to_builtins(b, builtin_types=(datetime.date,)) for b in made],
                                    sort_keys=False, width=110))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
