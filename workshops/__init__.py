"""What the box is for: the lessons, their models and their data. Imports no other room of the house."""
