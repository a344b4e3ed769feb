"""Trained models in use: what a run keeps of them, and what they say of new files."""
