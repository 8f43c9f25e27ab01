"""The paper's studies at small scale. Read README.md first, then `study`, then any."""
