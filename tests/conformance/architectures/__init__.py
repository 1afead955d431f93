"""Tiny random models of real architectures, and the judge of their conversion."""
