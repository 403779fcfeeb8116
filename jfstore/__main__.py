"""``python -m jfstore`` is ``jfstore``."""

import sys

from jfstore.cli import run_jfstore

if __name__ == "__main__":
    sys.exit(run_jfstore())
