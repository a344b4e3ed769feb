"""Twins of the corpora: made-up data in the official layouts."""
