"""Log files of the boxes: one per command, and the last ten commands."""

from __future__ import annotations

from pathlib import Path

from provision.ansible.logs import RUNS_KEPT, HostLogs


def test_the_last_ten_commands_are_kept_whatever_number_of_playbooks_they_run(tmp_path: Path) -> None:
    for number in range(13):
        logs = HostLogs(tmp_path / "logs")
        for playbook in ("preflight", "site"):
            logs.write("desk", f"{playbook} {number}\n")
            logs.close()
        logs.write("desk", "end\n")
        logs.close()
    found = sorted((tmp_path / "logs").iterdir())
    assert len(found) == RUNS_KEPT == 10
    assert (tmp_path / "logs/desk.log").read_text() == "preflight 12\nsite 12\nend\n"
    assert (tmp_path / "logs/desk.log.9").read_text() == "preflight 3\nsite 3\nend\n"
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in found)


def test_the_log_of_a_failure_stays_after_the_second_try(tmp_path: Path) -> None:
    first = HostLogs(tmp_path)
    first.write("desk", "preflight\n")
    first.write("desk", "the failure\n")
    assert first.has("desk")
    assert not first.has("other")
    first.close()
    second = HostLogs(tmp_path)
    second.write("desk", "preflight\n")
    second.close()
    third = HostLogs(tmp_path)
    third.write("desk", "site\n")
    third.close()
    assert "the failure" in (tmp_path / "desk.log.2").read_text()
