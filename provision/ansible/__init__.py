"""Run Ansible playbooks: progress, one log file per host, one outcome per host."""
