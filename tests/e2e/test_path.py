"""The whole way in a few minutes, for CI: a bare box, a small framework, dlbox on it, its verdict; again; and back."""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from provision.artifacts import lockfiles, own_wheel
from tests.e2e.bed import Bed
from tests.e2e.test_provision import LOOK, play


@pytest.mark.parametrize("suite", ["bookworm"])
def test_there_again_and_back_with_a_small_framework(
    beds_are_possible: None, tmp_path: Path, suite: str
) -> None:
    """JAX for the processor is the smallest that Keras trains on: 100 MB."""
    with Bed("path", suite=suite) as bed:
        bed.output("sudo apt-get update -q", timeout_s=300)
        before = bed.output(LOOK, timeout_s=120).splitlines()
        framework = lockfiles.lock(["jax>=0.10,<0.11", "keras>=3.15,<4"], bed.python)
        (tmp_path / "jax.txt").write_text(framework)
        (tmp_path / "dlbox.txt").write_text(
            lockfiles.lock(own_wheel.requirements(), bed.python, over=framework)
        )
        wheel = own_wheel.build(tmp_path)
        told: dict[str, Any] = {
            "frameworks_environments": [{"name": "jax", "lock": str(tmp_path / "jax.txt")}],
            "frameworks_python_packages": ["python3", "python3-venv"],
            "dlbox_app_lock": str(tmp_path / "dlbox.txt"),
            "dlbox_app_wheel": {"path": str(wheel.path), "sha256": wheel.sha256},
            "dlbox_app_over": "jax",
            "extra_ca_bundle": os.environ.get("SSL_CERT_FILE", ""),
        }
        first = play(bed, tmp_path, "site.yml", told)
        assert (first.status, first.verdict) == ("changed", "cpu-only"), first
        assert bed.output("dlbox --version").startswith("dlbox")
        trained = json.loads(
            bed.output("dlbox bench --quick --backend jax --workload gru --json; :", timeout_s=900)
        )
        assert trained["results"], trained
        second = play(bed, tmp_path, "site.yml", told)
        assert (second.status, second.changed, second.verdict) == ("ok", (), "cpu-only"), second
        assert play(bed, tmp_path, "rollback.yml", told).status == "changed"
        after = bed.output(LOOK, timeout_s=120).splitlines()
        assert not list(difflib.unified_diff(before, after, lineterm="", n=0))
