"""Measurements of the project's speed: `python -m bench`."""
