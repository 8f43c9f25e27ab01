"""Relatives of the paper's model, beside the taught classes and built from them.

Read first: `registers`.
"""
