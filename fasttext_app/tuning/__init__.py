"""Search over configs with Optuna."""
