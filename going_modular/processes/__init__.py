"""One process, or several that train one model together.

Read first: `alone`, which says what the others do differently.
"""
