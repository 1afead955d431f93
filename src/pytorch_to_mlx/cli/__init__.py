"""The command line: a thin shell around the Python API.

Exit codes: 0 done (and proven, where that was asked), 1 parity failed, 2 bad input or unsupported.
"""

from __future__ import annotations


def main() -> None:
    """The entry point of ``pytorch_to_mlx``; exits with the codes above."""
    try:
        from pytorch_to_mlx.cli.app import app

        app(prog_name="pytorch_to_mlx")
    except KeyboardInterrupt:  # before or after a command's own body
        raise SystemExit(130) from None


__all__ = ["main"]
