"""Plan a driver, CUDA and framework stack for a box, and install it with Ansible."""

from __future__ import annotations

from pathlib import Path

PROVISION_DIR = Path(__file__).resolve().parent
"""Contains the folders ``playbooks`` and ``roles``."""
