"""Results of measurements: the record, the history, statistics, exports, terminal output and the report.

Nothing here imports a deep learning framework or NVML.
"""
