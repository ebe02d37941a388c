"""The command line. Stands on the public API; nothing else in Trellis knows of it."""
