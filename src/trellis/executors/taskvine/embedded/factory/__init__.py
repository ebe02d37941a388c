"""The embedded engine's factory: a process that keeps as many workers running as there is work for."""
