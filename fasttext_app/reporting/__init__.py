"""A report on a model: one page of figures, pictures and texts."""
