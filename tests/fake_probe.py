"""The probe with a simulated NVML: ``python fake_probe.py SCENARIO.json [options of the probe]``."""

import json
import sys
from pathlib import Path

import fake_nvml

from inventory.nvml import probe


def numbered(value):
    """Convert the keys of a scenario back to numbers, because keys in JSON are text."""
    if isinstance(value, dict):
        return {int(key) if key.isdigit() else key: numbered(entry) for key, entry in value.items()}
    return [numbered(entry) for entry in value] if isinstance(value, list) else value


if __name__ == "__main__":
    with Path(sys.argv[1]).open() as file:
        fake_nvml.install(numbered(json.load(file)))
    sys.exit(probe.main([*sys.argv[2:], "--pause", "0.01"]))
