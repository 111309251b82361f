"""The only rooms that touch a framework, always in a child process."""
