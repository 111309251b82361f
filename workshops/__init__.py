"""The Keras workshop: lessons, models, data. Imports no other package except common."""
