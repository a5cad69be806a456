"""One look for everything that a browser shows: palette, style sheet, templates."""
