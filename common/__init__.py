"""Code that several packages use: files, YAML, terminal output, child processes, exit codes.

This package imports none of the other packages.
"""
