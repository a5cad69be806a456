"""From a model to predictions: forward, predict, evaluate, calibrate, explain, select, write."""
