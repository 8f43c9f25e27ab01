"""Text for a screen."""

__all__ = ["print_table"]


def print_table(**values) -> None:
    """Print names and values as a table of two columns."""
    width = max(map(len, values))
    for name, value in values.items():
        print(f"{name.replace('_', ' '):<{width}}  {value}")
