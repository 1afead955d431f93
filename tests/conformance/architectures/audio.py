"""Architectures of the audio kind."""

from __future__ import annotations
