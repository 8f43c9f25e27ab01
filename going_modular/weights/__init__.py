"""Pretrained weights of every common kind, read into our names and forms.

Read first: `reading`. The built-in weights lie here, too.
"""
