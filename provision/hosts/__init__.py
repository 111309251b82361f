"""Read hosts, groups and network settings from an Ansible inventory."""
