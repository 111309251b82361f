"""The recipe with a made-up machine and made-up training: order, verdicts, and what happens when keeping fails."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from bench.finding import Finding, Status
from bench.health.checks.frameworks import NAMES
from bench.judge import scaling
from bench.measure import machine_probes
from bench.measure.events import Block, Event, TrainingJob
from bench.measure.runner import WorkerProblem
from bench.measure.workloads import select
from bench.results.record.card import HARDWARE_HEAT, Telemetry
from bench.results.record.document import Document
from bench.results.store.history import History, HistoryError, default_path
from bench.run import session
from common.file_access.yaml_lines import YamlError
from common.terminal.progress import ProgressDisplay, quiet
from inventory.machine.gpu_records import Gpu
from inventory.machine.records import PciCard
from tests.samples import machine, said, telemetry

Script = dict[str, list[Event] | WorkerProblem | type[BaseException]]


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Document]:
    """Run `ready` on a machine and with workers that follow a script; by default all is well, on a CPU."""

    def ready(script: Script | None = None, *, has_card: bool = False, **options: Any) -> Document:
        healthy = options.pop("findings", [])
        cards = (PciCard(address="0000:01:00.0", device_id=0x2503, driver="nvidia"),) if has_card else ()
        gpus = (Gpu(index=0),) if "telemetry" in options else ()
        sampler = fake_sampler(options.pop("telemetry", None))
        monkeypatch.setattr("bench.measure.card.watch.Sampler", sampler)
        monkeypatch.setattr("inventory.gather.gather", lambda: machine(cards=cards, gpus=gpus))
        seen = options.pop("seen", [])
        looks = options.pop("looks", [])

        def look(machine: Any, *, only: Sequence[str] = NAMES) -> list[Finding]:
            looks.append(tuple(only))
            return list(seen)

        monkeypatch.setattr("bench.measure.visibility.findings", look)
        monkeypatch.setattr("bench.health.run", lambda machine, **_: list(healthy))

        def train(workload: Any, plan: Any, on_progress: Any, *, parent_pid: int) -> Any:
            def run(job: TrainingJob, on_event: Callable[[Event], None], **_: Any) -> WorkerProblem | None:
                step = (script or {}).get(job.workload.name, said(400.0, 401.0, 402.0, on_gpu=has_card))
                if isinstance(step, WorkerProblem):
                    return step
                if isinstance(step, type):
                    for event in said(500.0, 501.0)[:4]:
                        on_event(event)
                    raise step
                for event in step:
                    on_event(event)
                return None

            return original(workload, plan, on_progress, run=run, parent_pid=parent_pid)

        original = TRAIN
        monkeypatch.setattr("bench.measure.training.train", train)
        command = options.pop("command", "ready")
        names = options.pop("workloads", ())
        watcher = options.pop("watcher", None) or quiet()
        return session.run(
            session.RunOptions(command=command, workloads=tuple(select(names)), **options), watcher
        )

    return ready


TRAIN = session.training.train


def fake_sampler(seen: Telemetry | None) -> Any:
    """Stands in for the child that reads the card, and says ``seen``; without it nobody may start one."""

    class Sampler(nullcontext[None]):
        def __init__(self) -> None:
            assert seen is not None
            super().__init__()
            self.heard: list[Event] = []

        def on_event(self, event: Event) -> None:
            self.heard.append(event)

        def telemetry(self) -> Telemetry | None:
            assert any(isinstance(event, Block) for event in self.heard)
            return seen

    return Sampler


def statuses(document: Document) -> dict[str, Status]:
    return {f.id: f.status for f in document.findings}


def test_a_sound_machine_without_a_card(box: Any) -> None:
    document = box()
    assert document.verdict == "cpu-only"
    assert [r.workload for r in document.results] == ["lstm", "gru", "cnn-lstm"]
    assert document.run_id == 1
    assert not document.partial
    assert Path(document.report).is_file()
    stored = History(default_path()).run(1)
    assert stored is not None
    assert stored.document == document
    assert stored.state == "complete"


def test_a_sound_machine_with_a_card_is_ready(box: Any) -> None:
    assert box(has_card=True).verdict == "ready"


def test_training_on_the_requested_processor_gives_no_finding_about_the_card(box: Any) -> None:
    script = {"lstm": said(400.0, 401.0, 402.0)}
    document = box(script, has_card=True, command="bench", devices="cpu:1", workloads=("lstm",))
    assert document.verdict == "cpu-only"
    assert "the NVIDIA card was not used" in Path(document.report).read_text()


def test_all_devices_of_a_box_whose_card_is_dead_are_refused(box: Any) -> None:
    with pytest.raises(scaling.DevicesError, match="dlbox check"):
        box(
            {"lstm": said(400.0, 401.0, 402.0)},
            has_card=True,
            command="bench",
            devices="all",
            workloads=("lstm",),
        )
    assert History(default_path()).runs() == []


def test_all_devices_on_a_machine_without_a_card_reports_that_scaling_was_not_measured(box: Any) -> None:
    document = box(command="bench", devices="all", workloads=("lstm",))
    assert (document.verdict, statuses(document)["training.devices"]) == ("cpu-only", Status.SKIP)


def test_a_card_that_was_not_used_is_not_ready(box: Any) -> None:
    sees = Finding(id="frameworks.tensorflow", status=Status.PASS, title="t", message="computes on RTX 3060")
    document = box({"gru": said(400.0)}, has_card=True, seen=[sees])
    assert document.verdict == "not-ready"
    assert statuses(document)["training.gru-device"] is Status.FAIL
    (found,) = [f for f in document.findings if f.id == "training.gru-device"]
    assert "although in a separate process computes on RTX 3060" in found.message


@pytest.mark.parametrize(
    ("health_checks", "looked"), [(True, [NAMES]), (False, [("tensorflow",)])], ids=["ready", "bench"]
)
def test_the_missing_library_is_in_the_finding_and_asked_for_once(
    box: Any, health_checks: bool, looked: list[tuple[str, ...]]
) -> None:
    blind = Finding(
        id="frameworks.tensorflow",
        status=Status.FAIL,
        title="t",
        message="missing: libcudnn.so.9",
        remedy="reinstall",
    )
    looks: list[tuple[str, ...]] = []
    script = {name: said(400.0) for name in ("lstm", "gru", "cnn-lstm")}
    document = box(script, has_card=True, seen=[blind], looks=looks, health_checks=health_checks)
    found = [f for f in document.findings if f.id.endswith("-device")]
    assert [f.status for f in found] == [Status.FAIL] * 3
    assert all("missing: libcudnn.so.9" in f.message and f.remedy == "reinstall" for f in found)
    assert looks == looked


def test_a_framework_that_trains_on_the_card_is_not_asked(box: Any) -> None:
    looks: list[tuple[str, ...]] = []
    assert box(has_card=True, looks=looks, health_checks=False).verdict == "ready"
    assert looks == []


@pytest.mark.parametrize("has_card", [True, False])
@pytest.mark.parametrize("name", ["judge.bands.shipped", "judge.prediction.measured"])
def test_a_damaged_file_of_expectations_is_one_warning_and_the_run_goes_on(
    box: Any, monkeypatch: pytest.MonkeyPatch, name: str, has_card: bool
) -> None:
    def damaged(*_: Any) -> Any:
        raise YamlError("the.yml, line 7: RTX 3061 is no card")

    monkeypatch.setattr(f"bench.{name}", damaged)
    document = box(has_card=has_card)
    assert document.verdict == ("ready" if has_card else "cpu-only")
    assert not document.partial
    warned = [f for f in document.findings if f.status is Status.WARN]
    assert [f.id for f in warned] == ["results.expectations"]
    assert "the.yml, line 7: RTX 3061 is no card" in warned[0].message


@pytest.mark.parametrize(("framework", "verdict"), [("tensorflow", "not-ready"), ("jax", "ready")])
def test_only_the_framework_in_use_must_see_the_card(box: Any, framework: str, verdict: str) -> None:
    blind = Finding(id=f"frameworks.{framework}", status=Status.FAIL, title="t", message="m", remedy="r")
    document = box(has_card=True, seen=[blind])
    assert document.verdict == verdict
    assert statuses(document)[blind.id] is (Status.FAIL if verdict == "not-ready" else Status.WARN)


def test_the_readings_of_the_card_are_stored_and_judged(box: Any) -> None:
    document = box(has_card=True, telemetry=telemetry())
    assert document.verdict == "ready"
    assert [r.telemetry for r in document.results] == [telemetry()] * 3
    assert statuses(document)["training.gru-worked"] is Status.PASS
    stored = History(default_path()).run(1)
    assert stored is not None
    assert stored.document == document
    assert "The card during training" in Path(document.report).read_text()


def test_a_card_that_idled_or_ran_at_half_its_clock_is_not_ready(box: Any) -> None:
    seen = telemetry()
    for name, change in {
        "worked": {"process_seen": False, "utilisation_max_percent": 0, "utilisation_mean_percent": 0.0},
        "clock": {"sm_mhz_median": 1057, "harmless_seconds": {}},
        "slowdown": {"harmful_seconds": {HARDWARE_HEAT: 2.0}},
    }.items():
        summary = msgspec.structs.replace(seen.summary, **change)
        told = msgspec.structs.replace(seen, summary=summary)
        document = box(has_card=True, telemetry=told, workloads=("lstm",), report=False)
        assert document.verdict == "not-ready"
        assert statuses(document)[f"training.lstm-{name}"] is Status.FAIL


def test_a_watch_that_breaks_changes_no_verdict(box: Any) -> None:
    broken = Telemetry(trouble="the process that queries NVML crashed (SIGSEGV)")
    document = box(has_card=True, telemetry=broken, workloads=("lstm",), report=False)
    assert document.verdict == "ready"
    assert statuses(document)["training.lstm-worked"] is Status.SKIP


def test_one_crash_does_not_stop_the_others(box: Any) -> None:
    document = box(
        {"lstm": WorkerProblem(kind="crash", message="the worker was killed by SIGSEGV", detail="boom")}
    )
    assert document.verdict == "not-ready"
    assert [r.workload for r in document.results] == ["gru", "cnn-lstm"]
    assert statuses(document)["training.lstm-ran"] is Status.FAIL


def test_training_that_does_not_learn_fails(box: Any) -> None:
    document = box({"lstm": said(400.0, accuracy=0.5)})
    assert document.verdict == "not-ready"
    assert statuses(document)["training.lstm-learns"] is Status.FAIL


def test_a_failed_health_check_decides(box: Any) -> None:
    bad = Finding(id="driver.loaded", status=Status.FAIL, title="t", message="m", remedy="r")
    assert box(findings=[bad]).verdict == "not-ready"


@pytest.mark.parametrize("stop", [KeyboardInterrupt])
def test_an_interrupted_run_is_stored_as_partial(box: Any, stop: type[BaseException]) -> None:
    with pytest.raises(session.InterruptedRunError) as caught:
        box({"gru": stop})
    document = caught.value.document
    assert document is not None
    assert document.partial
    assert [(r.workload, r.partial) for r in document.results] == [("lstm", False), ("gru", True)]
    assert len(document.results[1].blocks) == 2
    stored = History(default_path()).run(1)
    assert stored is not None
    assert (stored.state, stored.document) == ("partial", document)


def test_a_run_is_in_the_history_before_anything_is_probed(box: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def probe(*_: Any, **__: Any) -> Any:
        seen.extend(History(default_path()).runs())
        raise KeyboardInterrupt

    monkeypatch.setattr(machine_probes, "measure", probe)
    with pytest.raises(session.InterruptedRunError) as caught:
        box()
    assert [(run.state, run.document is not None) for run in seen] == [("running", True)]
    document = caught.value.document
    assert document is not None
    assert (document.run_id, document.partial, document.verdict) == (1, True, "not-ready")
    assert (document.probes, document.results) == (None, ())
    stored = History(default_path()).run(1)
    assert stored is not None
    assert (stored.state, stored.document) == ("partial", document)


def test_the_probes_results_are_stored_before_the_training(box: Any) -> None:
    with pytest.raises(session.InterruptedRunError) as caught:
        box({"lstm": KeyboardInterrupt})
    assert caught.value.document is not None
    assert caught.value.document.probes is not None


def test_ctrl_c_while_the_report_is_drawn_leaves_the_run_complete(
    box: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.results.report.page.render", stop)
    with pytest.raises(session.InterruptedRunError) as caught:
        box(command="bench", repeats=5, quick=False, baseline=True, report=True)
    document = caught.value.document
    assert document is not None
    assert (document.verdict, document.partial, document.report) == ("cpu-only", False, None)
    history = History(default_path())
    stored = history.run(1)
    assert stored is not None
    assert (stored.state, stored.document, stored.baseline) == ("complete", document, True)
    assert [run.id for run in history.baselines()] == [1]


def test_ctrl_c_in_the_last_word_itself_leaves_the_run_complete(
    box: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, stops = History.save, iter([KeyboardInterrupt])

    def save(self: History, run: int, document: Document, state: str = "running", **more: Any) -> None:
        if state == "complete" and (stop := next(stops, None)):
            raise stop
        original(self, run, document, state, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(History, "save", save)
    with pytest.raises(session.InterruptedRunError):
        box(command="bench", repeats=5, quick=False, baseline=True)
    stored = History(default_path()).run(1)
    assert stored is not None
    assert (stored.state, stored.baseline) == ("complete", True)


def test_the_first_run_without_a_card_is_quick_and_later_ones_are_not(box: Any) -> None:
    assert box().options["quick"] is True
    assert box().options["quick"] is False
    assert box(quick=True).options["quick"] is True
    assert box(command="bench").options["quick"] is False


def test_the_first_run_with_a_card_is_not_quick(box: Any) -> None:
    assert box(has_card=True).options["quick"] is False


def test_a_full_disk_at_report_time_loses_nothing(box: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str, **how: bool) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bench.run.session.write_atomically", full)
    document = box()
    assert document.report is None
    assert document.verdict == "not-ready"
    failed = next(f for f in document.findings if f.id == "results.report")
    assert "No space left on device" in failed.message
    assert "dlbox report 1" in str(failed.remedy)
    stored = History(default_path()).run(1)
    assert stored is not None
    assert stored.document == document


def test_a_disk_that_fills_up_while_training_stops_the_keeping_not_the_run(
    box: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise HistoryError("cannot write to the history x: database or disk is full.")

    monkeypatch.setattr(History, "add_block", full)
    document = box()
    assert len(document.results) == 3
    assert document.run_id is None
    assert document.verdict == "not-ready"
    assert statuses(document)["results.history"] is Status.FAIL


def test_a_place_that_cannot_be_written_to(
    box: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same as a read-only home, which a test that may run as root cannot have."""
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_DATA_HOME", str(blocked))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    document = box(watcher=ProgressDisplay(Console(stderr=True, width=1000)))
    assert len(document.results) == 3
    assert [f for f in document.findings if f.status is Status.FAIL] == []
    assert Path(document.report).is_relative_to(tmp_path)
    assert not Path(document.report).is_relative_to(blocked)
    assert Path(document.report).is_file()
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dlbox: ")]
    assert len(told) == 1
    assert "set XDG_DATA_HOME to a folder that you can write to" in told[0]


def test_the_report_goes_where_it_is_asked_to(box: Any, tmp_path: Path) -> None:
    document = box(output=tmp_path / "new" / "folder")
    assert Path(document.report).parent == tmp_path / "new" / "folder"


def test_a_backend_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "installed_backends", lambda: ["tensorflow"])
    with pytest.raises(
        session.RunOptionsError, match=r"torch is not installed.*tensorflow.*\./dlbox setup torch"
    ):
        session.choose_backend("torch")
    assert session.choose_backend(None) == "tensorflow"
    monkeypatch.setattr(session, "installed_backends", list)
    with pytest.raises(session.RunOptionsError, match="none is installed"):
        session.choose_backend(None)


def test_a_run_with_an_undecodable_path_is_stored_and_has_a_report(
    box: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the history and of the page; a finding names the path too, because the history is damaged."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    default_path().parent.mkdir(parents=True)
    default_path().write_bytes(b"garbage" * 1000)
    document = box(output=folder / "pages")
    assert document.run_id == 1
    assert Path(document.report).is_file()
    stored = History(default_path()).run(1)
    assert stored is not None
    assert stored.document is not None
    assert stored.document.report == document.report.replace("\udce9", "\ufffd")
    (told,) = [f.message for f in stored.document.findings if f.id == "results.history"]
    assert f"{tmp_path}/caf\ufffd/dlbox/history.sqlite.damaged" in told
