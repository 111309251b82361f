"""Bills of materials: reading them, judging them, comparing them with this machine."""
