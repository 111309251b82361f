#!/bin/sh
# Check dlbox on a machine with an NVIDIA card: at most 8 minutes, everything into one folder. `--help` lists the steps.
# It needs the Python environment of the project (or PYTHON=...) with the torch or JAX wheel that has code for the card.
cd "$(dirname "$0")/../.." || exit 2
if [ -z "$PYTHON" ]; then
    if [ -x .venv/bin/python ]; then PYTHON=.venv/bin/python; else PYTHON=python3; fi
fi
PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH
exec "$PYTHON" -P -m tests.gpu.run "$@"
