"""A Vision Transformer that runs in the page; begin with vit.js, Equations 1 to 4."""
