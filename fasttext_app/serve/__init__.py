"""A service over HTTP: predictions as JSON and CSV, and a page for people."""
