"""The commands of `dlbox workshop`: each takes options and returns an exit code. No module here imports Keras."""
