"""Lowering: one source op to MLX calls. Names and arguments only; semantics live in ``ops``."""
