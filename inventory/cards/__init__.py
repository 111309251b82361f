"""The catalogue of graphics cards, and the architectures of cards that it lacks."""
