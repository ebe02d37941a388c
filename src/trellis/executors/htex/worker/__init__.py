"""The worker: a process that runs one task after another. Loads little, so that it starts quickly."""
