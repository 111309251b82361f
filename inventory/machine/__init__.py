"""One machine as plain records, and the readers of the kernel's files that fill them."""
