"""Formats that jfstore takes in or gives back: they know arrays and names, never a repository."""
