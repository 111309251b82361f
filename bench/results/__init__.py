"""What was measured, kept and shown; no framework, no NVML in here."""
