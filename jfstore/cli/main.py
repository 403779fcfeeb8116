"""The command line."""


def main(argv: list[str] | None = None) -> int:
    """Run a command."""
    return 0
