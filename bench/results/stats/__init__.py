"""Statistics of a result: spread, intervals, steadiness, comparison. Pure functions."""
