"""What several packages need: files of a person, terminal output, child processes, exit codes.

Imports no other package.
"""
