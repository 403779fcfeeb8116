"""Storages: where the files of a repository lie, and how arrays lie in them."""
