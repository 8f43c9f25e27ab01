"""Looking into a forward pass, and testing what was seen there.

Read first: `capture`.
"""
