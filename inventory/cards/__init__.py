"""The catalogue of graphics cards, and the architectures of cards that are not in the catalogue."""
