"""ganlib: the small library behind the book. Each module is a room; see DESIGN in the README for who may visit whom."""

__version__ = "0.1.0"
