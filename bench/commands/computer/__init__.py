"""Commands about the computer itself: the start screen, doctor, collect, watch."""
