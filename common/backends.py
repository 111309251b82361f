"""The frameworks that Keras can run on."""

BACKENDS = ("tensorflow", "torch", "jax")
"""In order of preference: the first that is installed is the default."""
