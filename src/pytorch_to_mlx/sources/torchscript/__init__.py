"""TorchScript: scripts and traces rebuilt as modules that torch.export can trace."""
