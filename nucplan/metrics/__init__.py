"""Metrics of nucleus instances and classes: one overlap table, then every number from it."""
