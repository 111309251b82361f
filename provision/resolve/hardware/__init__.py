"""Rules about the hardware of one machine: which of its cards count, and what its processor can run."""
