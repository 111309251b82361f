"""The HTML report and the Markdown summary of a run."""
