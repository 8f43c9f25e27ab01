"""Text for a screen."""

__all__ = ["print_table", "printable"]


def print_table(**values) -> None:
    """Print names and values as a table of two columns."""
    width = max(map(len, values))
    for name, value in values.items():
        print(f"{name.replace('_', ' '):<{width}}  {printable(value)}")


def printable(text) -> str:
    """The text on one line, with escapes for what would move or hide characters.

    Names of files, classes and tensors come from anywhere; printed raw, some would give
    the terminal orders.
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text)
    )
