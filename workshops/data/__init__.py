"""One module per data set. A set is generated here, or downloaded and checked with its SHA-256."""
