"""Relatives of the paper's model, beside the taught classes and built from them.

Read first: `registers` and `conv_stem`; `building` tells which one weights are for.
"""
