"""The output folder: writing it whole or not at all, and running the model that it holds."""
