"""Scores of cards that were measured on other machines, from the bands of bands.yml."""

from __future__ import annotations

import math
from collections.abc import Iterable

from bench.judge import bands
from bench.judge.bands import Band
from bench.results.stats import score
from common.file_access.yaml_lines import YamlError
from inventory.cards import cards


def measured(known: Iterable[Band] | None = None) -> dict[str, float]:
    """Score by name of the card in the catalogue; each band counts with its geometric mean, and of several backends
    the fastest. ``known``: None: the bands of bands.yml; none if that file cannot be read, which a finding says."""
    rates: dict[str, dict[str, float]] = {}
    if known is None:
        try:
            known = bands.shipped()
        except YamlError:
            return {}
    for band in known:
        if band.batch == score.BATCH:
            of_card = rates.setdefault(cards.find(band.card).name, {})
            middle = math.sqrt(band.low * band.high)
            of_card[band.fingerprint] = max(middle, of_card.get(band.fingerprint, 0.0))
    found = {name: score.of_rates(of_card) for name, of_card in rates.items()}
    return {name: value for name, value in found.items() if value is not None}
