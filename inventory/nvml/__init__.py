"""Read the cards with NVML, NVIDIA's management library, in a child process, because NVML may crash."""
