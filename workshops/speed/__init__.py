"""Which settings a lesson trains with: defaults, and what `dlbox tune` stored."""
