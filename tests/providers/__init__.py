"""Providers at stand-ins of batch systems: real commands on PATH, real jobs, one computer."""
