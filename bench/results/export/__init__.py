"""Results and check findings in the formats of other programs. A format is one module here that registers itself."""
