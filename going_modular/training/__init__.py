"""What a long run adds to `engine`: settings, checkpoints, logs and speed.

Read first: `run`.
"""
