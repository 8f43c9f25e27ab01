"""The figures of notebooks and scripts; import them from `helper_functions`."""
