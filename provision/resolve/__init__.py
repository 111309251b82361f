"""Card and distribution -> versions, each with its reason and source."""
