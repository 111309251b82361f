"""Load Keras without what TensorFlow's libraries write to stderr before anybody can set their log level."""

from __future__ import annotations

import importlib
import os
import re
import sys
import tempfile

_NOISE = re.compile(
    r"WARNING: All log messages before absl::InitializeLog\(\)|I\d{4} .*\] oneDNN custom operations are on"
)
"""TensorFlow 2.21 says this on processors whose oneDNN it uses, whatever TF_CPP_MIN_LOG_LEVEL says."""


def load_keras() -> None:
    """Import Keras with its backend. Whatever else is written meanwhile comes out afterwards, in its order."""
    if "keras" in sys.modules:
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            importlib.import_module("keras")
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            said.seek(0)
            lines = said.read().decode(errors="replace").splitlines(keepends=True)
            sys.stderr.write("".join(line for line in lines if not _NOISE.match(line)))
            sys.stderr.flush()
