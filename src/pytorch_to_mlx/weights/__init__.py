"""Weights: streamed safetensors files."""
