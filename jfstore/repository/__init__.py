"""A repository: its log, what is added to it and found in it, and whether it is sound."""

from jfstore.repository.adding import Added, Entry
from jfstore.repository.answer import Answer
from jfstore.repository.making import create, open_storage
from jfstore.repository.repository import Repository

__all__ = ["Added", "Answer", "Entry", "Repository", "create", "open_storage"]
