"""Models of other programs: fastText's own files, read and written."""
