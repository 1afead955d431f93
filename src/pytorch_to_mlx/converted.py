"""A converted model: the package on disk and the callable over it."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlx.nn as nn

from pytorch_to_mlx.files import write_text
from pytorch_to_mlx.package import selftest
from pytorch_to_mlx.package.folder import beside, renewed
from pytorch_to_mlx.package.run import Package

if TYPE_CHECKING:
    from pytorch_to_mlx.capture.program import Captured
    from pytorch_to_mlx.graph import Graph


class Converted:
    """What :func:`convert` returns.

    Calling it runs the emitted package: inputs are ``mx.array``, numpy arrays or torch tensors,
        nested as
    forward takes them; outputs are ``mx.array`` in the source's nesting (dataclasses as dicts) and
    dtypes.
    """

    def __init__(
        self,
        folder: Path,
        report: dict[str, Any],
        *,
        captured: Captured | None = None,
        graph: Graph | None = None,
        temporary: tempfile.TemporaryDirectory[str] | None = None,
    ) -> None:
        self.package = Package(folder)
        self.report = report
        self.captured = captured
        self.graph = graph
        self.fold_batch_norm = True  # as it was converted
        self._temporary = temporary

    @property
    def path(self) -> Path:
        """The package folder (a temporary one until :meth:`save`)."""
        return self.package.folder

    @property
    def module(self) -> nn.Module:
        """The emitted ``mlx.nn.Module`` with its weights."""
        return self.package.model

    @property
    def code(self) -> str:
        """The text of ``model.py``."""
        return (self.path / "model.py").read_text(encoding="utf-8")

    @property
    def config(self) -> dict[str, Any]:
        return self.package.config

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.package(*args, **kwargs)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Copies the package to ``path``; complete or not at all.

        Raises:
            OutputError: the path exists (without ``overwrite``), is not writable, or the disk is
                full.
        """
        self.write_report()
        with beside(Path(path), overwrite=overwrite) as work:
            shutil.copytree(self.path, work, dirs_exist_ok=True)
        return Path(path)

    def write_report(self) -> None:
        """Writes ``report.html``, ``report.json`` and ``README.md`` of the package as things
        stand, all three in one step where the package is complete.
        """
        complete = (self.path / "report.json").is_file() and self._temporary is None
        with renewed(self.path) if complete else nullcontext(self.path) as folder:
            self._write_report(folder)

    def _write_report(self, folder: Path) -> None:
        from pytorch_to_mlx.report.build import write_report

        write_report(self.report, folder)
        write_text(folder / "README.md", selftest.readme(self.config, self.report))

    def __repr__(self) -> str:
        name, count = self.config["name"], self.config["parameters"]
        return f"Converted({name}, {count:,} parameters, {self.path})"
