"""Multimodal emotion recognition from face video and body signals, in JAX."""

__version__ = '0.1.0'
