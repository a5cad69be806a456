"""The version, in one place for the build and the running program."""

__version__ = "0.1.0"
