"""The embedded engine's worker: one process on each host, with a cache of files, libraries and tasks."""
