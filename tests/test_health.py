"""The health checks on whole machines: every scenario is read by the real code and judged by the real checks."""

from __future__ import annotations

from pathlib import Path

import pytest
import scenario

from bench import health
from bench.finding import Status, verdict


@pytest.mark.parametrize("name", scenario.names())
def test_a_scenario_is_judged_as_its_file_says(name: str, tmp_path: Path) -> None:
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
