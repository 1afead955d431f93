"""The report of a conversion: report.json for programs, report.html for people."""

from __future__ import annotations

from .build import ReportError, write_report

__all__ = ["ReportError", "write_report"]
