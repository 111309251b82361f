"""What a box is: its hardware, its readings, the catalogue of cards. Imports no other room of the house."""
