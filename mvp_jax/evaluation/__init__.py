"""Scores of held-out predictions, and the report on a work directory."""
