"""Matrix products, copies and single steps, timed in a separate process."""
