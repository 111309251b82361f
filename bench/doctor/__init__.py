"""What `dlbox doctor` says: what works, what is broken first, the next command, and what comes after it."""
