"""Graph-to-graph passes; :mod:`.pipeline` lists them in order."""
