"""Mixtures of experts and state-space models."""

from __future__ import annotations
