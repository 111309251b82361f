"""The ground floor: what every other package uses, and which itself uses none of them."""
