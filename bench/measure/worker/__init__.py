"""The process that trains one workload. Frameworks are imported in this process only."""
