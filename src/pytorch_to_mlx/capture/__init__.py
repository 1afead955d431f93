"""Capture: the only room that meets a foreign format; it normalises a source into a ``Captured``."""
