"""Architectures of the multimodal kind."""

from __future__ import annotations
