#!/bin/sh
# Makes the lock files again from pyproject.toml (needs uv). Each is a plain requirements file with
# hashes, so pip alone can install from it, and names no registry.
set -eu
cd "$(dirname "$0")/.."
lock() {
    out=$1; shift
    uv pip compile --quiet pyproject.toml --universal --python-version 3.11 --generate-hashes \
        --no-header --no-emit-index-url --no-emit-find-links "$@" --output-file "locks/$out"
    echo "locks/$out: $(grep -c '^[a-z]' "locks/$out") packages"
}
lock cpu.txt --extra tensorflow "$@"
lock cuda.txt --extra tensorflow-cuda --constraints locks/cpu.txt "$@"
lock dev.txt --extra dev --constraints locks/cpu.txt "$@"
lock jax.txt --extra jax --constraints locks/dev.txt "$@"
