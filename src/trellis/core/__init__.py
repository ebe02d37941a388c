"""What every other part stands on. Imports nothing of ours but the errors."""
