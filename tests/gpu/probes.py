"""The probes of this machine: ``python -m tests.gpu.probes BACKEND`` prints them as JSON."""

from __future__ import annotations

import sys

import msgspec

from bench.measure import machine_probes
from inventory import gather


def main(backend: str) -> int:
    found = machine_probes.measure(gather.gather(), backend, 6.0)
    print(msgspec.json.encode(found).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
