from __future__ import annotations

import msgspec
import pytest

from bench.measure.workloads import SUITES, WORKLOADS, UnknownWorkloadError, Workload, select

FINGERPRINTS = {
    "lstm": "d472eaf8b35bf67f",
    "gru": "7626b3885b769fa9",
    "cnn-lstm": "8cd1613a62fd1847",
    "simple-rnn": "79329a6f2707a4a4",
    "bilstm": "d1be181f5e2420d6",
    "deep-lstm": "60da1821f9cecf75",
    "cnn": "1d4570ec72f2ebc7",
    "attention": "fc997f424a7610eb",
    "lstm-text-gen": "5401fdf36a06f5ee",
    "gru-text-gen": "01ec0fa5e7269813",
    "seq2seq": "6e22c03d5a0d7531",
    "sign-cnn": "0c0acde00163de30",
    "lstm-faithful": "da6204b950931338",
    "lstm-dropout-faithful": "bf0ddf6f36ec7184",
    "deep-lstm-faithful": "a6295c21be32937c",
    "cnn-lstm-faithful": "3b630e28cab76593",
}


def test_the_fingerprints_are_the_published_ones() -> None:
    """A change here makes every stored result incomparable: raise `version` and say so in CHANGELOG.md."""
    assert {name: w.fingerprint for name, w in WORKLOADS.items()} == FINGERPRINTS


def test_every_setting_is_part_of_the_fingerprint() -> None:
    base = WORKLOADS["lstm"]
    for field in msgspec.structs.fields(Workload):
        value = getattr(base, field.name)
        other = not value if isinstance(value, bool) else f"{value}x" if isinstance(value, str) else value + 1
        assert msgspec.structs.replace(base, **{field.name: other}).fingerprint != base.fingerprint, (
            field.name
        )


def test_the_workshop_sizes_are_the_class_s() -> None:
    others = {"lstm-text-gen": (20, 200), "gru-text-gen": (20, 200), "sign-cnn": (256, 0)}
    for workload in WORKLOADS.values():
        tokens = 1000 if workload.name == "cnn" else 300
        size = (12, 7) if workload.name.startswith("seq2seq") else others.get(workload.name, (1000, tokens))
        assert (workload.vocabulary, workload.tokens, workload.batch_size) == (*size, 32)


def test_the_suites_grow() -> None:
    assert set(SUITES["ready"]) < set(SUITES["workshop"]) < set(SUITES["full"]) == set(WORKLOADS)
    assert len(SUITES["workshop"]) == 12
    assert all(WORKLOADS[name].fused for name in SUITES["workshop"])
    faithful = [w for w in WORKLOADS.values() if w.name.endswith("-faithful")]
    assert {"lstm-faithful", "cnn-lstm-faithful"} < {w.name for w in faithful}
    assert all(w.model.startswith("class/") for w in faithful)


def test_selecting() -> None:
    assert [w.name for w in select(())] == ["lstm", "gru", "cnn-lstm"]
    assert [w.name for w in select((), "workshop")] == list(SUITES["workshop"])
    assert [w.name for w in select(("gru", "lstm", "gru"))] == ["gru", "lstm"]
    assert [w.name for w in select(("lstm-fast", "lstm", "lstm-faithful"))] == ["lstm", "lstm-faithful"]
    with pytest.raises(UnknownWorkloadError, match=r"unknown workload 'gru-fast'"):
        select(("gru-fast",))  # there is one gru only
    with pytest.raises(UnknownWorkloadError, match=r"unknown workload 'transformer'.*lstm, gru, cnn-lstm"):
        select(("transformer",))
