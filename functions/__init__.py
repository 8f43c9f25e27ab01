"""Keeps the import path `from functions import helper_functions` working."""
