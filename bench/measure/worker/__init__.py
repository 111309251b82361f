"""The process that trains one workload. The only code here that imports a framework runs in it."""
