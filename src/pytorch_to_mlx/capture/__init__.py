"""Capture: the room that meets foreign formats; it normalises a source into a ``Captured``."""
