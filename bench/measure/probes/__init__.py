"""Matrix products, copies and single steps, timed in a process of their own."""
