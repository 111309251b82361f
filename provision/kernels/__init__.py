"""The names of Linux kernels, and the newest kernel for which each version of NVIDIA's modules compiles."""
