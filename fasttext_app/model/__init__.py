"""A trained model: torch module, output heads, metrics, quantizers, its directory on disk."""
