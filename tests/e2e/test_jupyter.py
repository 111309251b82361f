"""JupyterLab on a box: a service of the user that only this machine reaches, and only with the token."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from provision.artifacts import lockfiles
from provision.artifacts.environments import JUPYTER
from tests.e2e.bed import Bed, free_port
from tests.e2e.test_provision import LOOK, play

# What JupyterLab itself keeps for its user (~/.local, ~/.jupyter) stays: it may be the user's work.
LOOK_HOME = f"{LOOK}; ls -A /var/lib/systemd/linger; sudo find ~/.config || :"


def test_it_answers_here_with_the_token_and_goes_without_a_trace(bed: Bed, tmp_path: Path) -> None:
    bed.output("sudo apt-get update -q; sudo mkdir -p /var/lib/systemd/linger", timeout_s=300)
    before = bed.output(LOOK_HOME, timeout_s=120).splitlines()
    port = free_port()
    (tmp_path / "tensorflow.txt").write_text(lockfiles.lock(["six==1.17.0"], "3.11"))
    (tmp_path / "jupyter.txt").write_text(lockfiles.lock(JUPYTER, "3.11"))
    told = {
        "site_preflight": False,
        "frameworks_environments": [{"name": "tensorflow", "lock": str(tmp_path / "tensorflow.txt")}],
        "frameworks_python_packages": ["python3", "python3-venv"],
        "jupyter_lock": str(tmp_path / "jupyter.txt"),
        "jupyter_over": "tensorflow",
        "jupyter_port": port,
        "extra_ca_bundle": os.environ.get("SSL_CERT_FILE", ""),
    }
    first = play(bed, tmp_path, "site.yml", told, "frameworks", "jupyter")
    assert first.status == "changed", first
    address = f"http://127.0.0.1:{port}/api/kernelspecs"
    ask = (
        "/opt/dlbox/venv/tensorflow/bin/python -c "
        f"'import urllib.request as u; print(u.urlopen(\"{address}\").status)'"
    )
    assert "403" in bed.run(ask).stderr
    token = bed.output("cut -d= -f2 ~/.config/dlbox/jupyter.env").strip()
    assert len(token) == 48
    assert bed.output(ask.replace("kernelspecs", f"kernelspecs?token={token}")).strip() == "200"
    assert bed.output("stat -c %a ~/.config/dlbox/jupyter.env").strip() == "600"
    listening = [line for line in bed.output("ss -Hltn").splitlines() if f":{port} " in line]
    assert [line.split()[3] for line in listening] == [f"127.0.0.1:{port}"]
    assert token not in bed.output("ps -eo args")
    logs = "".join(path.read_text() for path in (tmp_path / "logs").glob("*.log*"))
    assert token not in logs

    second = play(bed, tmp_path, "site.yml", told, "frameworks", "jupyter")
    assert (second.status, second.changed) == ("ok", ()), second

    assert play(bed, tmp_path, "rollback.yml", told).status == "changed"
    assert not [line for line in bed.output("ss -Hltn").splitlines() if f":{port} " in line]
    after = bed.output(LOOK_HOME, timeout_s=120).splitlines()
    assert not list(difflib.unified_diff(before, after, lineterm="", n=0))
