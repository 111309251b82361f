"""Results, comparisons and checks as text for a terminal."""
