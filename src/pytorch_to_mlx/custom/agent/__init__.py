"""Asks a language model for a missing op; trusts nothing that comes back."""
