"""Fine-tuning on few labelled images.

Read first: `fine_tuning`.
"""
