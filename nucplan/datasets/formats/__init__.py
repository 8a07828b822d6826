"""Readers of public sets and of what annotation tools write, one module each."""
