"""Check the machine of a recorded scenario: ``python -m tests.gpu.replay FILE.yml`` prints the findings as JSON."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import yaml

sys.path.append(
    str(Path(__file__).resolve().parent.parent)
)  # tests/fake_probe.py imports its neighbour by name

from bench import health
from tests.scenario import Scenario


def main(path: Path) -> int:
    recorded = Scenario(path.stem, yaml.safe_load(path.read_text(encoding="utf-8")))
    with tempfile.TemporaryDirectory() as folder:
        machine = recorded.machine(Path(folder), timeout_s=10)
    found = [
        {"id": f.id, "subject": f.subject, "status": f.status.value, "message": f.message}
        for f in health.run(machine)
    ]
    print(json.dumps({"findings": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
