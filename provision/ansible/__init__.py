"""Running Ansible: progress, log, outcome."""
