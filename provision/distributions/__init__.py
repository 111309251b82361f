"""Linux distributions: one data file for each supported release, and the code that reads these files."""
