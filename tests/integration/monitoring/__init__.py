"""Runs that are recorded, by processes of their own, into real databases."""
