"""Ansible's inventory file: hosts, groups and the network that they are on."""
