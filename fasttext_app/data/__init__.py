"""From a SPEC or Python objects to Arrow batches of text, label and weight."""
