"""Records that describe one computer, and the readers of kernel files that fill them."""
