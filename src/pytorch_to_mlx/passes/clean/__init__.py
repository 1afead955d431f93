"""Clean-up passes: dead code, repeated and no-op calls."""
