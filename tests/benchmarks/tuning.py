"""Plain Keras `fit` and raw loops, alternated, each in a fresh process; samples/s at batch 32.

.venv/bin/python -m tests.benchmarks.tuning ROUNDS SECONDS [MODEL ...] [-- CONTENDER ...]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

CONTENDERS = {
    "keras-tf": ("plain_keras", "tensorflow", "stock"),
    "keras-tf-loops": ("plain_keras", "tensorflow", "loops"),
    "keras-tf-loops-steps": ("plain_keras", "tensorflow", "loops-steps"),
    "keras-tf-loops-steps32": ("plain_keras", "tensorflow", "loops-steps32"),
    "keras-tf-xla": ("plain_keras", "tensorflow", "xla"),
    "keras-tf-xla-steps": ("plain_keras", "tensorflow", "xla-steps"),
    "keras-jax": ("plain_keras", "jax", "stock"),
    "keras-jax-steps": ("plain_keras", "jax", "steps"),
    "keras-torch-fast": ("plain_keras", "torch", "fast"),
    "keras-torch-split": ("plain_keras", "torch", "split"),
    "keras-torch-loops": ("plain_keras", "torch", "loops"),
    "raw-torch": ("raw_torch", "torch", ""),
    "raw-jax": ("raw_jax", "jax", ""),
    "raw-tf": ("raw_tensorflow", "tensorflow", "graph"),
    "raw-tf-xla": ("raw_tensorflow", "tensorflow", "xla"),
}
MODELS = ("lstm", "gru", "bilstm", "cnn", "cnn-lstm")


def once(contender: str, model: str, seconds: float) -> float | None:
    script, backend, how = CONTENDERS[contender]
    done = subprocess.run(
        [sys.executable, "-m", f"tests.benchmarks.{script}", model, str(seconds), how],
        capture_output=True, text=True, check=False,
        env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )  # fmt: skip
    if done.returncode:
        print(done.stderr[-600:], file=sys.stderr)
        return None
    return float(done.stdout.split()[-1])


def main() -> None:
    words, named = sys.argv[3:], list(CONTENDERS)
    if "--" in words:
        cut = words.index("--")
        words, named = words[:cut], words[cut + 1 :]
    for model in words or MODELS:
        rates: dict[str, list[float]] = {name: [] for name in named}
        for _ in range(int(sys.argv[1])):
            for name in named:
                rate = once(name, model, float(sys.argv[2]))
                if rate:
                    rates[name].append(rate)
        for name, got in rates.items():
            told = ", ".join(f"{rate:,.0f}" for rate in got)
            print(f"| {model} | {name} | {statistics.median(got) if got else 0:,.0f} | {told} |", flush=True)


if __name__ == "__main__":
    main()
