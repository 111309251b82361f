"""The lines below the progress bar while a model trains."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from bench.measure.card import watch
from bench.measure.events import Block
from bench.run.live_view import LiveView, observed
from common.terminal.progress import ProgressDisplay
from inventory.machine.gpu_records import Gpu, Temperatures
from inventory.machine.reading import Reading
from tests.samples import said

BLOCK = Block(
    steps=10, examples=320, seconds=0.5, other_cpu_cores=0.0, trained_seconds=5.0, examples_seen=640,
    done_share=0.25, loss=0.5,
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LATEST", {})


def test_a_block_gives_speed_loss_step_time_and_time_left() -> None:
    now = [0.0]
    view = LiveView(clock=lambda: now[0])
    view.on_event(BLOCK)
    view.on_event(BLOCK)
    first, second = view.lines()
    assert first.startswith("640 samples/s ")
    assert len(first.split()[-1]) == 2
    assert second == "loss 0.5, step 50 ms, 15 s of training left"


def test_a_pause_of_the_worker_is_explained_with_its_length() -> None:
    now = [0.0]
    view = LiveView(clock=lambda: now[0])
    view.on_event(BLOCK)
    now[0] = 7.0
    assert view.lines()[-1] == "waiting for the training process for 7 s"


def test_a_new_process_starts_a_new_sparkline() -> None:
    view = LiveView()
    view.on_event(BLOCK)
    view.on_event(said(400.0)[0])
    assert view.lines() == []


def test_a_card_is_shown_and_its_silence_too() -> None:
    now = [100.0]
    view = LiveView(clock=lambda: now[0])
    watch.LATEST[0] = (100.0, Gpu(index=0, temperatures=Temperatures(gpu_c=Reading.of(71))))
    assert "card 0: 71 C" in view.lines()
    now[0] = 130.0
    assert "card 0: the card has not answered for 30 s" in view.lines()


def test_the_caller_and_the_view_both_get_each_event() -> None:
    view, seen = LiveView(), []
    run = observed(lambda job, on_event: on_event(BLOCK), view, cards=False)
    run(None, seen.append)
    assert seen == [BLOCK]
    assert view.lines()[0].startswith("640 samples/s")


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (40, 10), (40, 4)])
def test_the_lines_fit_below_the_bar(columns: int, rows: int) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=columns, height=rows)
    with ProgressDisplay(console) as watcher:
        watcher.show_details(lambda: ["640 samples/s " + "x" * 200] * 40)
        watcher.begin("lstm", "training")
        assert watcher._bar is not None
        watcher._bar.refresh()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    assert max(map(len, re.split(r"[\r\n]+", plain))) <= columns
    assert ("640 samples/s" in plain) == (rows > 4)


def test_without_a_terminal_the_lines_are_not_printed() -> None:
    out = io.StringIO()
    with ProgressDisplay(Console(file=out)) as watcher:
        watcher.show_details(lambda: ["640 samples/s"])
        watcher.begin("lstm", "training")
    assert out.getvalue() == "lstm: training\n"
