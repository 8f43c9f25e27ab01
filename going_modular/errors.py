"""The error for unusable input."""

__all__ = ["InputError"]


class InputError(ValueError):
    """The user gave something unusable; the message says what, where and what to do."""
