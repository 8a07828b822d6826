"""Markers of multiplexed images: what a channel's name stands for, and the embeddings of proteins."""
