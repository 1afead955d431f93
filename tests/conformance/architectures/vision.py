"""Architectures of the vision kind."""

from __future__ import annotations
