"""Encoders by family: each gives four token maps of one image, from shallow to deep."""
