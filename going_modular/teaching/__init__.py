"""What the notebooks import besides the model: checks, a toy example, drawings."""
