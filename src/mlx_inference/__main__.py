"""``python -m mlx_inference``."""

from mlx_inference.cli import main

if __name__ == "__main__":
    main()
