"""Tests on the real TaskVine, in a root directory of Debian 13: run them with ``make test-taskvine``."""
