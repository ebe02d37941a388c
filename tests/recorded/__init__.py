"""Monitoring databases with runs that never ran, for tests of what reads them."""
