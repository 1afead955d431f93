"""Fusion passes: groups of calls that one MLX call or layer does."""
