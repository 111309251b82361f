"""Select versions for a card and a distribution, each with its reason and source."""
