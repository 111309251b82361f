"""JupyterLab as a service of the user: reachable only from the box itself and only with the token."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from provision.artifacts import lockfiles
from provision.artifacts.environments import JUPYTER
from tests.e2e.container import Container, free_port
from tests.e2e.test_provision import LOOK, play

# Files that JupyterLab itself writes for its user (~/.local, ~/.jupyter) stay: they may be the user's work.
LOOK_HOME = f"{LOOK}; ls -A /var/lib/systemd/linger; sudo find ~/.config || :"


def test_it_answers_locally_with_the_token_and_is_removed_completely(
    container: Container, tmp_path: Path
) -> None:
    container.output("sudo apt-get update -q; sudo mkdir -p /var/lib/systemd/linger", timeout_s=300)
    before = container.output(LOOK_HOME, timeout_s=120).splitlines()
    port = free_port()
    (tmp_path / "tensorflow.txt").write_text(lockfiles.lock(["six==1.17.0"], "3.11"))
    (tmp_path / "jupyter.txt").write_text(lockfiles.lock(JUPYTER, "3.11"))
    variables = {
        "site_preflight": False,
        "frameworks_environments": [{"name": "tensorflow", "lock": str(tmp_path / "tensorflow.txt")}],
        "frameworks_python_packages": ["python3", "python3-venv"],
        "jupyter_lock": str(tmp_path / "jupyter.txt"),
        "jupyter_over": "tensorflow",
        "jupyter_port": port,
        "extra_ca_bundle": os.environ.get("SSL_CERT_FILE", ""),
    }
    first = play(container, tmp_path, "site.yml", variables, "frameworks", "jupyter")
    assert first.status == "changed", first
    address = f"http://127.0.0.1:{port}/api/kernelspecs"
    ask = (
        "/opt/dlbox/venv/tensorflow/bin/python -c "
        f"'import urllib.request as u; print(u.urlopen(\"{address}\").status)'"
    )
    assert "403" in container.run(ask).stderr
    token = container.output("cut -d= -f2 ~/.config/dlbox/jupyter.env").strip()
    assert len(token) == 48
    assert container.output(ask.replace("kernelspecs", f"kernelspecs?token={token}")).strip() == "200"
    assert container.output("stat -c %a ~/.config/dlbox/jupyter.env").strip() == "600"
    listening = [line for line in container.output("ss -Hltn").splitlines() if f":{port} " in line]
    assert [line.split()[3] for line in listening] == [f"127.0.0.1:{port}"]
    assert token not in container.output("ps -eo args")
    logs = "".join(path.read_text() for path in (tmp_path / "logs").glob("*.log*"))
    assert token not in logs

    second = play(container, tmp_path, "site.yml", variables, "frameworks", "jupyter")
    assert (second.status, second.changed) == ("ok", ()), second

    assert play(container, tmp_path, "rollback.yml", variables).status == "changed"
    assert not [line for line in container.output("ss -Hltn").splitlines() if f":{port} " in line]
    after = container.output(LOOK_HOME, timeout_s=120).splitlines()
    assert not list(difflib.unified_diff(before, after, lineterm="", n=0))
