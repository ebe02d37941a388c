"""Parameters that do nothing, one at a time: the tests that the documents name must notice. See ``run.py``."""
