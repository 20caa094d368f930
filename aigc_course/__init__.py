"""A course you can run on a train: words become pictures, and pictures words, with small models made here."""

__version__ = "0.1.0"
