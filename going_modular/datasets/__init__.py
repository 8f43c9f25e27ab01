"""Where images come from: built-in sets, torchvision's, folders of photos.

Read first: `sources`.
"""
