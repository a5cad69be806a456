"""Arrays, files, threads, signals, compilation and devices; independent of texts and models."""
