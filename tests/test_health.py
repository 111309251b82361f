"""Run the readers and the health checks on every scenario, a simulated machine."""

from __future__ import annotations

from pathlib import Path

import pytest
import scenario

from bench import health
from bench.finding import Status, verdict


@pytest.mark.parametrize("name", scenario.names())
def test_a_scenario_gives_the_findings_in_its_file(name: str, tmp_path: Path) -> None:
    given = scenario.load(name)
    machine = given.machine(tmp_path, timeout_s=given.expect.get("timeout_s", 10))
    findings = health.run(machine, expect_gpus=given.expect.get("expect_gpus"))
    told = {status: [f.id for f in findings if f.status is status] for status in Status}
    wanted = given.expect
    assert told[Status.FAIL] == wanted.get("fail", [])
    assert told[Status.WARN] == wanted.get("warn", [])
    assert told[Status.UNKNOWN] == wanted.get("unknown", [])
    assert verdict(findings, has_gpu=machine.has_gpu) == wanted["verdict"]
    for entry in wanted.get("says", []):
        assert any(entry in f"{f.message} {f.remedy}" for f in findings), entry
    for entry in wanted.get("not_says", []):
        assert not any(entry in f"{f.message} {f.remedy}" for f in findings), entry
