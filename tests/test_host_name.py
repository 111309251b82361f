"""Whatever a computer is called, its own results can be stored and read again."""

from __future__ import annotations

import platform

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import document, machine

from bench.results.record import grammar
from inventory.machine import host

HOSTILE = [
    "a/b",
    "a\\b",
    "<box>",
    "a|b",
    'a"b',
    "a'b",
    "a$b",
    "a;b",
    "a&b",
    "{{ box }}",
    "a`b`",
    "a\x1b[31mb",
    "\u202eb",
]


def misnamed(name: str) -> str | None:
    named = msgspec.structs.replace(machine().host, hostname=name)
    return grammar.misnamed(document(machine=machine(host=named)))


@given(st.one_of(st.text(max_size=400), st.sampled_from(HOSTILE)))
def test_every_host_name_becomes_one_that_a_stored_result_may_have(text: str) -> None:
    name = host.host_name(text)
    assert misnamed(name) is None
    assert not grammar.steers(name)
    name.encode()
    assert host.host_name(name) == name
    assert len(name) == min(len(text), 255)


@pytest.mark.parametrize("name", ["", "desk-01.lab.example", "bücher", "my box (2)", "BOX_3"])
def test_a_harmless_host_name_stays_as_it_is(name: str) -> None:
    assert host.host_name(name) == name


@pytest.mark.parametrize("name", HOSTILE)
def test_a_host_name_with_special_characters_is_replaced_where_the_machine_is_read(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "node", lambda: name)
    found = host.read().hostname
    assert found != name
    assert misnamed(found) is None
