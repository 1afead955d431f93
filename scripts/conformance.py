"""Runs the conformance sets and writes their records, and the figures in ``docs/coverage.md``.

``python scripts/conformance.py`` runs all of torch's OpInfo table and all architectures;
``--ops`` or ``--architectures`` only those, ``--dtypes`` the table in other dtypes (half an hour).
With names (of dtypes, there), those only, merged into what is on record; ``--failing`` runs again
what failed, ``--table`` only rewrites the pages.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

import architectures_record
import dtypes_record
import opinfo_record
import workers

COVERAGE = workers.ROOT / "docs" / "coverage.md"


def write_coverage() -> None:
    """The page with all figures, from the registry and the records."""
    done = subprocess.run(
        [sys.executable, "-m", "pytorch_to_mlx", "coverage", "--markdown"],
        cwd=workers.ROOT, env=workers.environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    COVERAGE.write_text(done.stdout, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="entries of the one set that is run, or dtypes")
    parser.add_argument("--ops", action="store_true", help="only torch's OpInfo table")
    parser.add_argument("--architectures", action="store_true", help="only the architectures")
    parser.add_argument("--dtypes", action="store_true", help="the OpInfo table in other dtypes")
    parser.add_argument("--failing", action="store_true", help="run again what failed")
    parser.add_argument("--table", action="store_true", help="only write the pages")
    parser.add_argument("--samples", type=int, default=5, help="samples an OpInfo entry")
    options = parser.parse_args()
    if options.dtypes:
        dtypes_record.run(options.names, failing=options.failing, table=options.table)
        return 0
    both = options.ops == options.architectures
    if options.names and both:
        parser.error("names need --ops or --architectures")
    how = {"failing": options.failing, "table": options.table}
    if both or options.ops:
        opinfo_record.run(options.names, samples=options.samples, **how)
    if both or options.architectures:
        architectures_record.run(options.names, **how)
    write_coverage()
    return 0


if __name__ == "__main__":
    sys.exit(main())
