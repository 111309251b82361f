"""Run the commands `dlbox plan` and `dlbox provision`: each takes its options and returns an exit code."""
