#!/bin/sh
# Makes the lock files again from pyproject.toml (needs uv). Each is a requirements file with hashes, which pip can
# install; it names no package index.
set -eu
cd "$(dirname "$0")/.."
lock() {  # lock FILE OPTIONS...
    out=$1; shift
    uv pip compile --quiet pyproject.toml --universal --python-version 3.11 --generate-hashes \
        --no-header --no-emit-index-url --no-emit-find-links "$@" --output-file "locks/$out"
    echo "locks/$out: $(grep -c '^[a-z]' "locks/$out") packages"
}
# Each file uses the versions of the files before it, because one call of pip installs them into one environment
# (tests/test_launcher.py tests that they agree). `locks/update.sh --upgrade` selects newer releases.
lock cpu.txt --extra train --extra tensorflow "$@"
lock core.txt --constraints locks/cpu.txt "$@"
lock draw.txt --extra draw --constraints locks/cpu.txt "$@"
lock resolve.txt --extra resolve --constraints locks/cpu.txt "$@"
lock processor.txt --extra train --extra processor --constraints locks/cpu.txt "$@"
lock cuda.txt --extra train --extra tensorflow-cuda --constraints locks/cpu.txt --constraints locks/processor.txt "$@"
lock build.txt --extra build --constraints locks/cpu.txt "$@"
lock dev.txt --extra dev --extra build --extra draw --extra resolve --extra processor --constraints locks/cpu.txt \
    --constraints locks/processor.txt --constraints locks/resolve.txt "$@"
lock jupyter.txt --extra jupyter --constraints locks/dev.txt --constraints locks/cpu.txt "$@"
lock jax-cpu.txt --extra train --extra jax --constraints locks/dev.txt --constraints locks/cpu.txt "$@"
lock jax-cuda.txt --extra train --extra jax-cuda --constraints locks/cuda.txt --constraints locks/dev.txt "$@"
lock torch-cpu.txt --extra train --extra torch --constraints locks/cpu.txt --constraints locks/dev.txt "$@"
lock torch-cuda.txt --extra train --extra torch-cuda --constraints locks/cuda.txt --constraints locks/dev.txt "$@"
