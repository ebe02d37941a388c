"""What runs where tasks run: started by workers, light, without threads of its own."""
