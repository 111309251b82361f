"""The Keras models that the lessons and the benchmark train."""
