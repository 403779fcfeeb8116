"""The commands that users knew before jfstore."""
