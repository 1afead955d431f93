"""What every test shares: a fast BLAS, single-threaded libraries, seeded draws, time budgets."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

# Before torch, numpy or mlx start their pools: two workers share the machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from pytorch_to_mlx.blas import load_blas

load_blas()

import hypothesis
import numpy as np
import pytest

try:
    import tomllib  # type: ignore[import-not-found, unused-ignore]
except ImportError:  # Python 3.10
    tomllib = None  # type: ignore[assignment, unused-ignore]

hypothesis.settings.register_profile(
    "default", deadline=None, derandomize=True, max_examples=50, print_blob=True
)
hypothesis.settings.load_profile("default")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator of numpy arrays."""
    return np.random.default_rng(0)


class SuiteClock:
    """Sums test time by folder of ``tests/``; over-budget folders fail the run when asked to."""

    def __init__(self, budgets: dict[str, float], enforce: bool) -> None:
        self.budgets = budgets
        self.enforce = enforce
        self.seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        parts = Path(report.nodeid.split("::", 1)[0]).parts
        suite = parts[1] if len(parts) > 2 else "other"
        self.seconds[suite] += report.duration

    def over_budget(self) -> list[str]:
        default = self.budgets.get("default", float("inf"))
        return [s for s, used in self.seconds.items() if used > self.budgets.get(s, default)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self.enforce and exitstatus == 0 and self.over_budget():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.enforce or not self.seconds:
            return
        terminalreporter.section("test time by folder")
        over = set(self.over_budget())
        for suite, used in sorted(self.seconds.items(), key=lambda item: -item[1]):
            budget = self.budgets.get(suite, self.budgets.get("default", float("inf")))
            mark = "  OVER BUDGET" if suite in over else ""
            terminalreporter.write_line(f"{suite:<12} {used:8.1f} s of {budget:.0f}{mark}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many of the hostile cases got as far as lowering."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for key, figure in getattr(report, "user_properties", ()):
            if key == "lowered" and report.when == "call":
                terminalreporter.write_line(f"{report.nodeid.partition('::')[0]}: {figure}")


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # the controller sums for all workers
        return
    budgets: dict[str, float] = {}
    if tomllib is not None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        budgets = project["tool"]["pytorch_to_mlx"]["budgets"]
    enforce = os.environ.get("P2M_ENFORCE_BUDGETS") == "1"
    config.pluginmanager.register(SuiteClock(budgets, enforce), "suite-clock")
