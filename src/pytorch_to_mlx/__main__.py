"""``python -m pytorch_to_mlx``."""

from pytorch_to_mlx.cli import main

if __name__ == "__main__":
    main()
