"""The catalogue of cards and the families of chips."""
