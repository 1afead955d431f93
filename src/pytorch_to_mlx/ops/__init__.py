"""Functions from ``mx.array`` to ``mx.array`` with torch's semantics where MLX lacks the op."""
