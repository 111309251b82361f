"""Why a card cannot be used: hypotheses that are compared with all evidence of a machine; ``explain`` is the entry."""
