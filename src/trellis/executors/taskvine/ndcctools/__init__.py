"""The engine that drives the real TaskVine, where the package ndcctools is installed."""
