"""Readings of the card through NVML, NVIDIA's management library, in a child process that may crash."""
