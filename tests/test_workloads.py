from __future__ import annotations

import msgspec
import pytest

from bench.measure.workloads import WORKLOADS, UnknownWorkloadError, Workload, select

FINGERPRINTS = {
    "lstm": "d472eaf8b35bf67f",
    "gru": "7626b3885b769fa9",
    "cnn-lstm": "8cd1613a62fd1847",
    "simple-rnn": "5afc8f4e811a8089",
    "bilstm": "d1be181f5e2420d6",
    "deep-lstm": "60da1821f9cecf75",
    "cnn": "1d4570ec72f2ebc7",
    "attention": "e0be841d217f65c1",
}


def test_the_fingerprints_are_the_published_ones() -> None:
    """A change here makes every stored result incomparable: raise `version` and say so in CHANGELOG.md."""
    assert {name: w.fingerprint for name, w in WORKLOADS.items()} == FINGERPRINTS


def test_every_setting_is_part_of_the_fingerprint() -> None:
    base = WORKLOADS["lstm"]
    for field in msgspec.structs.fields(Workload):
        value = getattr(base, field.name)
        other = f"{value}x" if isinstance(value, str) else value + 1
        assert msgspec.structs.replace(base, **{field.name: other}).fingerprint != base.fingerprint, (
            field.name
        )


def test_the_workshop_sizes_are_the_class_s() -> None:
    for workload in WORKLOADS.values():
        tokens = 1000 if workload.name == "cnn" else 300
        assert (workload.vocabulary, workload.tokens, workload.batch_size) == (1000, tokens, 32)


def test_selecting() -> None:
    assert [w.name for w in select(())] == ["lstm", "gru", "cnn-lstm"]
    assert [w.name for w in select((), "workshop")] == list(WORKLOADS)
    assert [w.name for w in select(("gru", "lstm", "gru"))] == ["gru", "lstm"]
    with pytest.raises(UnknownWorkloadError, match=r"no workload 'transformer'.*lstm, gru, cnn-lstm"):
        select(("transformer",))
