"""Files for TensorBoard and Weights & Biases, read back by their own readers."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.commands import export
from bench.results.export import tensorboard, weights_and_biases
from bench.results.record.document import Document, Result
from bench.results.report import markdown
from bench.results.store.history import History, default_path
from tests.conftest import ROOT, Command
from tests.samples import document, result, telemetry

READER = """
import sys
import tensorflow as tf
for event in tf.compat.v1.train.summary_iterator(sys.argv[1]):
    for value in event.summary.value:
        print(value.tag, event.step, repr(event.wall_time), value.simple_value)
    if event.file_version:
        print("version", event.file_version, 0, 0)
"""


def with_loss(made: Result) -> Result:
    repeats = tuple(
        msgspec.structs.replace(
            r,
            blocks=tuple(msgspec.structs.replace(b, loss=0.7 - 0.1 * n) for n, b in enumerate(r.blocks)),
        )
        for r in made.repeats
    )
    return msgspec.structs.replace(made, repeats=repeats)


def one_run() -> Document:
    return document(run_id=7, results=(with_loss(result("lstm", telemetry=telemetry())), result("gru")))


def read(path: Path) -> list[tuple[str, int, float, float]]:
    pytest.importorskip("tensorflow")
    done = subprocess.run(
        [sys.executable, "-c", READER, str(path)], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0][:2] == ["version", "brain.Event:2"]
    return [(tag, int(step), float(at), float(value)) for tag, step, at, value in rows[1:]]


def test_tensorflow_s_reader_reads_every_figure(tmp_path: Path) -> None:
    """It checks the sums of every record, too."""
    made = one_run()
    paths = tensorboard.write(made, tmp_path)
    assert [p.parent.relative_to(tmp_path).as_posix() for p in paths] == [
        "run7/lstm-tensorflow-batch32/process-0",
        "run7/gru-tensorflow-batch32/process-0",
    ]
    told = read(paths[0])
    by_name: dict[str, list[tuple[int, float, float]]] = {}
    for tag, step, at, value in told:
        by_name.setdefault(tag, []).append((step, at, value))
    blocks = made.results[0].repeats[0].blocks
    speeds = by_name["speed/samples_per_second"]
    assert [value for _, _, value in speeds] == pytest.approx([b.samples_per_second for b in blocks])
    assert [step for step, _, _ in speeds] == [10, 20, 30, 40]
    assert speeds[-1][1] - speeds[0][1] == pytest.approx(sum(b.seconds for b in blocks[1:]), abs=1e-3)
    assert [value for _, _, value in by_name["training/loss"]] == pytest.approx([0.7, 0.6, 0.5, 0.4])
    assert [value for _, _, value in by_name["training/held_out_accuracy"]] == pytest.approx([0.95])
    assert len(by_name["card/temperature_c"]) == 40
    assert len(by_name["card/power_w"]) == 39, "what was not read is not 0"


def test_the_checksum_is_crc_32c() -> None:
    """RFC 3720, appendix B.4: thirty-two zero bytes give aa36918a, lowest byte first; then TFRecord's mask."""
    crc = 0x8A9136AA
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert tensorboard._masked_crc(bytes(32)) == masked.to_bytes(4, "little")


def test_names_of_an_imported_run_stay_inside_the_folder(tmp_path: Path) -> None:
    evil = msgspec.structs.replace(result("lstm"), workload="../../x", backend="/y")
    for path in tensorboard.write(document(results=(evil,)), tmp_path / "logs"):
        assert path.is_relative_to(tmp_path / "logs")
        assert ".." not in path.parts


def test_the_command_writes_logs_and_prints_markdown(dlbox: Command, tmp_path: Path) -> None:
    history = History(default_path())
    history.save(history.begin(one_run()), one_run(), "complete")
    done = dlbox("report", "--tensorboard", str(tmp_path / "tb"))
    assert done.returncode == 0, done.stderr
    assert "tensorboard --logdir" in done.stderr
    assert len(list((tmp_path / "tb").rglob("events.out.tfevents.*"))) == 2
    done = dlbox("report", "--markdown")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("## dlbox ready: CPU ONLY\n")
    (tmp_path / "file").write_text("")
    done = dlbox("report", "--tensorboard", str(tmp_path / "file" / "x"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "--tensorboard FOLDER" in done.stderr


def test_without_weights_and_biases_the_error_names_the_install_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert export.missing({"wandb": False, "csv": Path("x")}) is None
    told = export.missing({"wandb": True})
    assert told is not None
    assert "pip install wandb" in told


def test_an_offline_run_of_weights_and_biases(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    code = (
        "import sys; from pathlib import Path; from tests.test_trackers import one_run\n"
        "from bench.results.export import weights_and_biases as w\n"
        "print(*w.write(one_run(), Path(sys.argv[1])), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    folders = [Path(line) for line in done.stdout.splitlines() if line]
    assert len(folders) == 2
    for folder in folders:
        assert folder.parent == tmp_path / "wandb"
        assert folder.name.startswith("offline-run-")
        assert list(folder.glob("run-*.wandb"))


def test_the_calls_of_weights_and_biases_are_offline_and_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[dict[str, Any]] = []
    begun: list[dict[str, Any]] = []

    class Run:
        dir = str(tmp_path / "wandb" / "offline-run-1" / "files")

        def __init__(self) -> None:
            self.summary: dict[str, Any] = {}

        def log(self, figures: dict[str, Any]) -> None:
            logged.append(figures)

        def finish(self) -> None:
            begun[-1]["finished"] = True

    def init(**asked: Any) -> Run:
        begun.append(asked)
        return Run()

    fake = types.SimpleNamespace(init=init, Settings=lambda **settings: settings)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setenv("WANDB_MODE", "online")
    weights_and_biases.write(one_run(), tmp_path)
    assert [b["mode"] for b in begun] == ["offline", "offline"], "never anything else"
    assert all(b["finished"] for b in begun)
    assert begun[0]["config"]["fingerprint"] == one_run().results[0].fingerprint
    assert sum("speed/samples_per_second" in figures for figures in logged) == 8


def test_markdown_in_texts_is_escaped_in_the_summary() -> None:
    evil = "a|b\n| c | <img src=x> [x](http://y)"
    made = document(results=(result("lstm", device=evil),), findings=())
    text = markdown.markdown(made)
    row = next(line for line in text.splitlines() if line.startswith("| lstm"))
    assert row.replace("\\|", "").count("|") == 9
    assert "\\<img" in row
    assert "\\[x](" in row
    assert text.endswith("Nothing needs attention.\n")


def test_the_summary_starts_with_failures() -> None:
    text = markdown.markdown(document(partial=True))
    assert text.splitlines()[-1].startswith("The run was interrupted, so this report shows only part of it; ")
    calm = markdown.markdown(document(partial=True, findings=()))
    assert "Nothing needs attention" not in calm
    assert "so this report shows only part of it, and nothing in it needs attention" in calm.splitlines()[-1]
    assert "INTERRUPTED" in text.splitlines()[0]
    assert "- **warn**, disk space: 12.0 GB are free in /home. Next step: make room" in text
    assert "| lstm | tensorflow | cpu, float32 | 32 | 400 |" in text
