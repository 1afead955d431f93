"""Converted models against PyTorch and against modules that people wrote by hand for MLX."""
