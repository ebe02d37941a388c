"""What is noticed, by whom, how fast, and what the user sees: one test for each row of the table in ``rows.py``."""
