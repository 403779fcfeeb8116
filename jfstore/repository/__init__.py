"""A repository: its log, what is added to it and found in it, and whether it is sound."""

from jfstore.repository.repository import Added, Answer, Entry, Repository, create, open_storage

__all__ = ["Added", "Answer", "Entry", "Repository", "create", "open_storage"]
