"""Tables, progress and plots: how the command line shows results."""
