"""The HTML page and the Markdown summary of a run."""
