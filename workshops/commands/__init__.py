"""What each command of `dlbox workshop` does: options in, exit code out. Nothing here imports Keras."""
