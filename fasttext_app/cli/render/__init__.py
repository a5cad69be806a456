"""Tables, progress bars and plots: how the command line shows results."""
