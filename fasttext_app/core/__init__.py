"""Arrays, files, threads, signals, the compiler and the device; knows nothing of text or models."""
