"""Tests on real machines: systemd-nspawn containers that boot, answer on SSH and install real packages."""
