"""The embedded engine's manager: one process that knows which task and which file is where."""
