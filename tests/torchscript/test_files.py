"""Archives on disk: they convert by the command, and damaged or hostile ones are refused."""

# No postponed annotations: TorchScript reads those of the model below.

import zipfile
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import pytorch_to_mlx as p2m
from pytorch_to_mlx.cli.app import app
from pytorch_to_mlx.errors import CaptureError, ConversionError, SourceError
from pytorch_to_mlx.sources import trial
from tests.torchscript import models
from tests.torchscript.helpers import compare, scripted, traced


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("script") / "model.pt"
    scripted(models.Containers()).save(str(path))
    return path


def run(*words: object) -> int:
    """The exit status of the command."""
    return CliRunner().invoke(app, [str(w) for w in words]).exit_code


def test_command_converts_an_archive(archive: Path, tmp_path: Path):
    out = tmp_path / "out"
    assert run("convert", "--input", archive, "--shapes", "x=3x4", "--output", out) == 0
    script = torch.jit.load(str(archive))
    compare(p2m.load(out), script, (torch.randn(3, 4),), (torch.randn(5, 4),))


def test_lines_of_the_source_are_told_without_its_file(tmp_path: Path):
    path = tmp_path / "trace.pt"
    x = torch.randn(2, 3, 6, 5)
    traced(models.Convolutional(), x).save(str(path))
    converted = p2m.convert(path, (x,))
    origins = {n.origin.file for n in converted.graph.nodes}
    assert any(o.endswith("models.py") for o in origins)


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_cut_archives_are_refused(archive: Path, tmp_path: Path, cut: float):
    path, out = tmp_path / "cut.pt", tmp_path / "out"
    data = archive.read_bytes()
    path.write_bytes(data[: int(len(data) * cut)])
    assert run("convert", "--input", path, "--shapes", "x=3x4", "--output", out) == 2
    assert not out.exists()


def rewritten(archive: Path, to: Path, suffix: str, change: object) -> Path:
    """A copy of an archive whose members ending in ``suffix`` are changed."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(to, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            new.writestr(info.filename, change(data) if info.filename.endswith(suffix) else data)  # type: ignore[operator]
    return to


@pytest.mark.parametrize(
    ("suffix", "change"),
    [
        (".py", lambda data: data.replace(b"return", b"retrun")),
        (".py", lambda data: b"import os\nos.system('true')\n" + data),
        (".py", lambda data: b"(" * 100_000),
        ("data.pkl", lambda data: data[: len(data) // 2]),
        ("data.pkl", lambda data: b"cos\nsystem\n(S'true'\ntR."),
        ("data/0", lambda data: data[:3]),
    ],
)
def test_damaged_members_are_refused(archive: Path, tmp_path: Path, suffix: str, change: object):
    path = rewritten(archive, tmp_path / "bad.pt", suffix, change)
    with pytest.raises(ConversionError):
        p2m.convert(path, (torch.randn(3, 4),))


def test_a_reader_that_never_ends_is_stopped(archive: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trial, "SECONDS", 0.01)
    with pytest.raises(SourceError, match="not done within"):
        p2m.convert(archive, (torch.randn(3, 4),))


class Writes(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.save(x, "never_written.pt")
        return x


def test_code_that_writes_files_is_refused():
    with pytest.raises(CaptureError, match="aten::save"):
        p2m.convert(scripted(Writes()), (torch.randn(2),))
