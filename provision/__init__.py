"""Make the box right: which versions fit this card on this distribution, and their installation."""
