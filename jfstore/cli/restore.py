"""``jfstore restore``: restore versions that were withdrawn."""

from __future__ import annotations

import argparse

from jfstore.cli import withdraw

EPILOG = """\
A version that was withdrawn becomes valid again where the rule selects it. --dry-run shows for which times answers
would change.

example:
  jfstore restore 171113-154920171025-3d00fb/20180306000000/v2 --repo real -m "the bias was right"
"""

add_options = withdraw.add_options


def run(args: argparse.Namespace) -> int:
    return withdraw.state_versions(args, "restore")
