"""``python -m jfstore`` is ``jfstore``."""

import sys

from jfstore.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
