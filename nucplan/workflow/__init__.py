"""A benchmark as a list of jobs, and three ways to run it."""
