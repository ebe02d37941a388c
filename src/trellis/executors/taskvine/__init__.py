"""Functions run through TaskVine: files that live at the workers, functions that stay loaded."""
