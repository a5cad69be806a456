"""fastText's own files, options, lines and scores, and how they map to a model here."""
