"""Loading Keras hides the start messages of TensorFlow and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SAYS = """
import os, sys
os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\\n")
os.write(2, b"I0000 00:00:1795804883.059219    6646 port.cc:153] oneDNN custom operations are on. You may see\\n")
os.write(2, b"E0000 00:00:1795804883.059219    6646 cuda.cc:12] cannot load libcudnn.so.9\\n")
{end}
"""


@pytest.mark.parametrize(
    ("end", "code"), [("", 0), ("raise ImportError('broken')", 1), ("raise KeyboardInterrupt", -2)]
)
def test_only_the_start_messages_of_tensorflow_are_hidden(tmp_path: Path, end: str, code: int) -> None:
    (tmp_path / "keras.py").write_text(SAYS.format(end=end))
    script = "import sys\nfrom workshops.player import backend\nbackend.load_keras()\nprint('after', file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert done.returncode == code
    assert "cannot load libcudnn.so.9" in done.stderr.splitlines()[0]
    assert "oneDNN" not in done.stderr
    assert "absl" not in done.stderr
    assert (done.stderr.splitlines()[-1] == "after") is (code == 0)
