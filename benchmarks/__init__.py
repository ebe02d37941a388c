"""How fast Trellis is beside its peers, measured in one run: ``python -m benchmarks``. Never part of the tests."""
