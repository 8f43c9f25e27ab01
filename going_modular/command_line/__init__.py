"""What the scripts share: their flags, and how they end.

Read first: `flags`.
"""
