"""Files, signals, terminals, threads, cores and text, as the operating system has them.

Read first: `files`.
"""
