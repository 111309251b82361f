"""The commands `dlbox plan` and `dlbox provision`: options in, exit code out."""
