"""Faults that need a card, planted on purpose: ``python -m tests.gpu.faults generic|busy BACKEND MODEL OUTPUT``.

generic: the worker forbids the fused recurrent kernel. busy: another process computes on the card meanwhile. Both run
`dlbox bench --quick --json` and print its document; the run succeeds if the document names the fault.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

OCCUPY = {
    "torch": "import torch; a = torch.ones(4096, 4096, device='cuda')\nwhile True: b = a @ a; torch.cuda.synchronize()",
    "jax": "import jax, jax.numpy as jnp; a = jnp.ones((4096, 4096))\nwhile True: (a @ a).block_until_ready()",
    "tensorflow": "import tensorflow as tf; a = tf.ones((4096, 4096))\nwhile True: b = tf.matmul(a, a).numpy()[0, 0]",
}
"""A program that computes without end. JAX and TensorFlow get an environment in which they leave memory free."""


@contextlib.contextmanager
def busy(backend: str) -> Iterator[None]:
    """A second process that computes on the card."""
    variables = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    other = subprocess.Popen([sys.executable, "-c", OCCUPY[backend]], env=variables)
    try:
        time.sleep(12)  # the framework is imported and computes
        yield
    finally:
        other.kill()
        other.wait()


def main(fault: str, backend: str, model: str, output: str) -> int:
    from bench.commands import measure
    from bench.measure import runner, training

    def complain(text: str) -> None:
        print(text, file=sys.stderr)

    if fault == "generic":
        worker = (sys.executable, "-P", "-m", "tests.planted", "generic-kernel")
        training.train = functools.partial(training.train, run=functools.partial(runner.run, command=worker))
    with busy(backend) if fault == "busy" else contextlib.nullcontext():
        return measure.measure(
            "bench", complain=complain, workloads=(model,), suite="ready", backend=backend, quick=True, seed=0,
            repeats=None, output=Path(output), expect_gpus=None, as_json=True,
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]))
