"""Files, signals and text, as the operating system has them.

Read first: `files`.
"""
