"""Reads what lies on disk: official layouts, video, faces, body signals."""
