"""Damaged, mixed and foreign reports: one sentence or a Machine, never another error, in limited time."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import reports
import scenario
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_sources import NVRM, TABLE, TEXT_OUTPUT, UBUNTU

from bench import health
from bench.finding import Finding, Status
from inventory.sources import read
from inventory.sources.contents import ReportError, decoded
from inventory.sources.smi_values import reading, whole

SEEDS = (
    TEXT_OUTPUT,
    TABLE,
    UBUNTU,
    NVRM,
    "nvidia/580.65.06, 6.8.0-60-generic, x86_64: installed\n",
    "Module  Size  Used by\nnvidia 60710912 1 nvidia_uvm\n",
    "ii  nvidia-driver-580:amd64 580.65.06-0 amd64 x\nhi  libnvidia-ml1 1 all y\n",
    reports.kernel_lines(
        [
            "NVRM: Xid (PCI:0000:01:00): 79, x",
            "nouveau 0000:01:00.0: x",
            "pci 0000:01:00.0: [10de:2503] type 00 class 0x030000",
        ]
    ),
    "01:00.0 VGA compatible controller [0300]: NVIDIA Corporation GA106 [10de:2503] (rev a1)\n\tKernel driver in use: nvidia\n",  # noqa: E501
    "# dlbox collect 1\nF etc/os-release\nL a -> ../../b\nLD sys/bus/pci/devices/0000:01:00.0 -> ../../../devices/x\nC dev/nvidia0 rw\nD ..\n",  # noqa: E501
    "<nvidia_smi_log><driver_version>580.65.06</driver_version><gpu id='0000:01:00.0'><fan_speed>ERR!</fan_speed></gpu></nvidia_smi_log>",  # noqa: E501
    f"{reports.RULER}\n\nStart of NVIDIA bug report log file.\nuname: Linux h 6.8.0 #1 x86_64\n{reports.RULER}\n\n*** /etc/os-release\n{UBUNTU}",  # noqa: E501
)
WORDS = (
    "N/A",
    "[Unknown Error]",
    "ERR!",
    "Requested functionality has been deprecated",
    "GPU is lost",
    "-1",
    "99999999999999999999999",
    "0x",
    "nan",
    "é",
    "\x00",
    "\x1b[31m",
    "\u202e",
    "١٢٣",
    "1e999",
    "<",
    "&lol;",
    ":",
    "    ",
    "=" * 40,
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Some of the seeds, cut, mixed and with foreign words, in any encoding."""
    text = "\n".join(draw(st.lists(st.sampled_from(SEEDS), min_size=1, max_size=4)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(text)))
        change = draw(st.sampled_from(("cut", "insert", "drop", "swap")))
        if change == "cut":
            text = text[:at] or text
        elif change == "insert":
            text = text[:at] + draw(st.sampled_from(WORDS)) + text[at:]
        elif change == "drop":
            text = text[:at] + text[at + draw(st.integers(1, 40)) :]
        else:
            text = text[at:] + text[:at]
    data = text.encode(draw(st.sampled_from(("utf-8", "utf-16", "utf-16-le", "utf-8-sig"))), "replace")
    if draw(st.booleans()):
        data = data.replace(b"\n", b"\r\n")
    return data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data


def judged(path: Path) -> list[Finding] | None:
    """The findings of a report; None if it is refused with one sentence."""
    try:
        machine = read.machine(path)
    except ReportError as error:
        sentence = str(error)
    else:
        return health.run(machine)
    assert "\n" not in sentence
    assert len(sentence) < 400
    return None


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damaged())
def test_a_damaged_report_is_read_or_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "report"
    file.write_bytes(data)
    for finding in judged(file) or ():
        assert "the check itself failed" not in finding.message
        assert finding.remedy or finding.status in (Status.PASS, Status.SKIP)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=3000))
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "report"
    file.write_bytes(data)
    judged(file)
    assert isinstance(decoded(data), str)


@given(st.text(max_size=60))
def test_any_text_is_a_reading_of_a_number(text: str) -> None:
    found = reading(text, whole)
    assert found.ok is isinstance(found.value, int)
    assert found.state != "not-in-source"


def big_report(size: int) -> str:
    """A bug report of ``size`` characters: a long kernel log, Xorg logs, hex dumps of the bus, and nvidia-smi."""
    machine = scenario_machine()
    chance = random.Random(7)  # noqa: S311 - test data
    log = reports.kernel_lines(
        ["NVRM: loading NVIDIA UNIX x86_64 Kernel Module  580.65.06"]
        + [
            f"usb {n}-1: new device number {n}, pci 0000:00:1f.{n % 7}: BAR {n % 6}, GPU_like [10de:{n % 9999:04d}] | {n} : NVIDIA"  # noqa: E501
            for n in range(20_000)
        ]
    )
    hexdump = "".join(
        f"{n % 4096:02x}: " + " ".join(f"{chance.randrange(256):02x}" for _ in range(16)) + "\n"
        for n in range(20_000)
    )
    text = reports.bug_report(
        machine, files={"proc/driver/nvidia/./version": NVRM, "etc/os-release": UBUNTU}, dmesg=log
    )
    return text + f"{reports.RULER}\n\n/usr/bin/lspci -nnDvvvxxxx\n\n{hexdump}" * (
        1 + (size - len(text)) // (len(hexdump) or 1)
    )


def scenario_machine() -> read.Machine:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return scenario.load("rtx3060_idle").machine(Path(folder))


def test_a_report_of_ten_megabytes_is_read(tmp_path: Path) -> None:
    text = big_report(10 << 20)
    (tmp_path / "nvidia-bug-report.log").write_text(text)
    machine = read.machine(tmp_path / "nvidia-bug-report.log")
    assert len(text) >= 10 << 20
    assert machine.gpus[0].name.ok
    assert machine.kernel_log.ok


@pytest.mark.parametrize(
    "line",
    [
        "a" * 3_000_000,
        "a: " * 700_000,
        "<nvidia_smi_log>" + "<a>" * 400_000,
        " " * 3_000_000 + "x",
        "|" * 1_000_000,
        "NVSMI LOG " * 200_000,
        "0" * 1_000_000 + ":",
        "[" + "1" * 1_000_000,
        "==NVSMI LOG==\n" + "a : b\n" * 200_000,
        "01:00.0 VGA " * 100_000,
        "NVML " + ": " * 500_000,
    ],
)
def test_long_and_repeated_lines_do_not_hang(line: str, tmp_path: Path) -> None:
    (tmp_path / "report.txt").write_text(line + "\n" + yaml.safe_dump({"a": line[:1000]}))
    judged(tmp_path / "report.txt")
