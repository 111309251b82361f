"""The exercises done, kept apart so that nobody reads them by accident."""
