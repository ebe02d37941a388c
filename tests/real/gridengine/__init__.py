"""Tests on a real Grid Engine with one host: run them with ``make test-gridengine``."""
