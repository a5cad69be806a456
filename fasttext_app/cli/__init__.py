"""The command line: Typer commands that parse, call the API and render the result."""
