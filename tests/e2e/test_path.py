"""The complete run in a few minutes, for CI: install a small framework and dlbox, verdict, repeat, roll back."""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from provision.artifacts import lockfiles, own_wheel
from tests.e2e.container import Container
from tests.e2e.test_provision import LOOK, play


@pytest.mark.parametrize("suite", ["bookworm"])
def test_install_repeat_and_roll_back_with_a_small_framework(
    containers_available: None, tmp_path: Path, suite: str
) -> None:
    """JAX for the CPU is the smallest framework that Keras can use: 100 MB."""
    with Container("path", suite=suite) as container:
        container.output("sudo apt-get update -q", timeout_s=300)
        before = container.output(LOOK, timeout_s=120).splitlines()
        framework = lockfiles.lock(["jax>=0.10,<0.11", "keras>=3.15,<4"], container.python)
        (tmp_path / "jax.txt").write_text(framework)
        (tmp_path / "dlbox.txt").write_text(
            lockfiles.lock(own_wheel.requirements(), container.python, over=framework)
        )
        wheel = own_wheel.build(tmp_path)
        variables: dict[str, Any] = {
            "frameworks_environments": [{"name": "jax", "lock": str(tmp_path / "jax.txt")}],
            "frameworks_python_packages": ["python3", "python3-venv"],
            "dlbox_app_lock": str(tmp_path / "dlbox.txt"),
            "dlbox_app_wheel": {"path": str(wheel.path), "sha256": wheel.sha256},
            "dlbox_app_over": "jax",
            "extra_ca_bundle": os.environ.get("SSL_CERT_FILE", ""),
        }
        first = play(container, tmp_path, "site.yml", variables)
        assert (first.status, first.verdict) == ("changed", "cpu-only"), first
        assert container.output("dlbox --version").startswith("dlbox")
        trained = json.loads(
            container.output("dlbox bench --quick --backend jax --workload gru --json; :", timeout_s=900)
        )
        assert trained["results"], trained
        second = play(container, tmp_path, "site.yml", variables)
        assert (second.status, second.changed, second.verdict) == ("ok", (), "cpu-only"), second
        assert play(container, tmp_path, "rollback.yml", variables).status == "changed"
        after = container.output(LOOK, timeout_s=120).splitlines()
        # The results of `dlbox bench` above belong to the user: a rollback keeps them.
        after = [line for line in after if not line.startswith("home/box/.local")]
        assert not list(difflib.unified_diff(before, after, lineterm="", n=0))
