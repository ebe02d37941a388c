"""HTEX on two hosts that a cable joins, and what happens when it is cut. Root only: ``make test-network``."""
