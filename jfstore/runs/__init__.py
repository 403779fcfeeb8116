"""Runs: which files are a run's, and what their XTC says of its Jungfraus and its begin time."""
