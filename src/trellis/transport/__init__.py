"""Moves frames between processes. The only user of zmq."""
