"""Files that are damaged or meant to harm: refused in one line, and nothing of them runs."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pytorch_to_mlx import memory
from pytorch_to_mlx.errors import ConversionError, InputError, SourceError
from pytorch_to_mlx.sources import load_tensors, open_source
from tests.hostile.names import CANARY
from tests.hostile.reached import assert_one_line

FACTORY = "import torch\ndef make():\n    return torch.nn.Linear(3, 2)\n"
SEEDS = 12


class Touch:
    """Leaves a file behind when it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path(CANARY),)


@pytest.fixture(autouse=True)
def nothing_ran() -> Any:
    yield
    assert not Path(CANARY).exists(), "the file ran code"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One good file of every kind."""
    root = tmp_path_factory.mktemp("good")
    module = torch.nn.Linear(3, 2)
    batch = {"input": {0: torch.export.Dim("batch")}}
    program = torch.export.export(module, (torch.ones(2, 3),), dynamic_shapes=batch)
    torch.export.save(program, root / "a.pt2")
    torch.save(module.state_dict(), root / "a.pt")
    torch.save(module.state_dict(), root / "a.pth", _use_new_zipfile_serialization=False)
    save_file(module.state_dict(), root / "a.safetensors")
    np.savez(root / "a.npz", x=np.ones((2, 3)))
    np.savez_compressed(root / "b.npz", x=np.ones((2, 3)))
    np.save(root / "a.npy", np.ones((2, 3)))
    (root / "make.py").write_text(FACTORY)
    return root


def opened(path: Path, beside: Path) -> Any:
    """The file as a model, or as inputs if it is one of those."""
    if path.suffix in (".npz", ".npy"):
        return load_tensors(path)
    return open_source(path, model_factory=_factory(path, beside))


def _factory(path: Path, beside: Path) -> str | None:
    return None if path.suffix == ".pt2" else f"{beside / 'make.py'}:make"


def refused(path: Path, beside: Path) -> str:
    with pytest.raises(ConversionError) as caught:
        opened(path, beside)
    assert_one_line(caught.value)
    return str(caught.value)


def _damage(data: bytes, seed: int) -> bytes:
    """Cut, overwritten, doubled, shifted, moved or filled with noise; drawn by the seed."""
    rng = np.random.default_rng(seed)
    at, size = sorted(rng.integers(0, len(data), 2))
    noise = rng.integers(0, 256, max(1, size - at), dtype=np.uint8).tobytes()
    ways = (
        data[:size],
        data[size:],
        data[:at] + noise + data[size:],
        data[:at] + data[size:],
        data[:size] + data[at:],
        data[:at] + bytes(size - at) + data[size:],
        data + data[: at + 1],
    )
    return ways[seed % len(ways)]


KINDS = ["a.pt2", "a.pt", "a.pth", "a.safetensors", "a.npz", "b.npz", "a.npy"]


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_damaged(folder: Path, name: str, tmp_path: Path) -> None:
    opened(folder / name, folder)
    data = (folder / name).read_bytes()
    bad = tmp_path / name
    failed = 0
    for seed in range(SEEDS):
        bad.write_bytes(_damage(data, seed))
        try:
            opened(bad, folder)
        except ConversionError as error:
            assert_one_line(error)
            failed += 1
    assert failed > SEEDS // 2, "damage that no one noticed"


@pytest.mark.parametrize("name", KINDS)
def test_noise_and_nothing(folder: Path, name: str, tmp_path: Path) -> None:
    bad = tmp_path / name
    head = (folder / name).read_bytes()[:16]
    noise = np.random.default_rng(0).integers(0, 256, 3000, dtype=np.uint8).tobytes()
    for data in (b"", b"\0", noise, head + noise, head + bytes(3000), b"PK\5\6" + bytes(18)):
        bad.write_bytes(data)
        refused(bad, folder)


def _changed(good: Path, bad: Path, change: Callable[[zipfile.ZipFile, str, bytes], None]) -> Path:
    """The archive, each entry written by ``change(archive, name, data)``."""
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(bad, "w") as new:
        for name in old.namelist():
            change(new, name, old.read(name))
    return bad


@pytest.mark.parametrize("name", ["a.pt2", "a.pt", "a.npz"])
@pytest.mark.parametrize(
    "entry", ["../x", "a/../../x", "/etc/p2m", "..\\x", "C:\\x", "C:x", "\\\\host\\x"]
)
def test_entries_that_lead_out(folder: Path, name: str, entry: str, tmp_path: Path) -> None:
    bad = tmp_path / name
    with zipfile.ZipFile(folder / name) as old, zipfile.ZipFile(bad, "w") as new:
        for inner in old.namelist():
            new.writestr(inner, old.read(inner))
        new.writestr(entry + (".npy" if name.endswith("npz") else ""), b"x")
    assert "leads out of it" in refused(bad, folder)
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["a.pt2", "a.pt", "a.npz"])
@pytest.mark.parametrize("change", [str, str.upper])
def test_entries_that_are_there_twice(
    folder: Path, name: str, change: Callable[[str], str], tmp_path: Path
) -> None:
    def twice(archive: zipfile.ZipFile, inner: str, data: bytes) -> None:
        archive.writestr(inner, data)
        archive.writestr(change(inner), data)

    assert "twice" in refused(_changed(folder / name, tmp_path / name, twice), folder)


def test_a_second_program_in_the_archive(folder: Path, tmp_path: Path) -> None:
    """Under another root, where torch might look and the check would not."""

    def beside(archive: zipfile.ZipFile, inner: str, data: bytes) -> None:
        archive.writestr("other/" + inner.partition("/")[2], data)
        archive.writestr(inner, data)

    bad = _changed(folder / "a.pt2", tmp_path / "a.pt2", beside)
    assert "several programs" in refused(bad, folder)


@pytest.mark.parametrize("name", ["a.pt2", "a.pt", "a.npz"])
def test_bombs(folder: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files that unpack to more than there is."""
    bad = tmp_path / name
    with zipfile.ZipFile(folder / name) as old:
        inner = {entry: old.read(entry) for entry in old.namelist()}
        largest = max(inner, key=lambda entry: len(inner[entry]))
    with zipfile.ZipFile(bad, "w", zipfile.ZIP_DEFLATED) as new:
        for entry, data in inner.items():
            new.writestr(entry, data + bytes(2**25) if entry == largest else data)
    assert bad.stat().st_size < 2**20
    monkeypatch.setattr(memory, "available", lambda: 2**24)
    assert "MiB are free" in refused(bad, folder)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_arrays_that_claim_more_than_they_hold(folder: Path, name: str, tmp_path: Path) -> None:
    header = io.BytesIO()
    facts = {"descr": "<f4", "fortran_order": False, "shape": (10**13,)}
    np.lib.format.write_array_header_1_0(header, facts)
    bad = tmp_path / name
    if name == "a.npy":
        bad.write_bytes(header.getvalue())
    else:
        with zipfile.ZipFile(bad, "w") as archive:
            archive.writestr("x.npy", header.getvalue())
    assert "cannot be read as arrays" in refused(bad, folder)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("suffix", ["pt", "pth", "bin", "ckpt", "pt2", "safetensors", "weights"])
def test_pickles_run_nothing(folder: Path, protocol: int, suffix: str, tmp_path: Path) -> None:
    """Plain ones, and ones in torch's own archives and old format, under any name."""
    bad = tmp_path / f"evil.{suffix}"
    bad.write_bytes(pickle.dumps({"weight": Touch()}, protocol=protocol))
    refused(bad, folder)
    with pytest.raises(InputError):
        load_tensors(bad)
    for zipped in (True, False):
        torch.save(
            {"w": Touch()}, bad, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped
        )
        refused(bad, folder)
        with pytest.raises(InputError):
            load_tensors(bad)


_CODE = f"__import__('pathlib').Path('{CANARY}').touch()"
#: What is replaced in the program's JSON, each a place that torch writes into source or evaluates.
ATTACKS = {
    "value": ('"input"', f'"input\\n{_CODE}\\n"'),
    "value that is an expression": ('"input"', f'"input=({_CODE})"'),
    "weight": ('"weight"', f'"weight\\"+{_CODE}+\\""'),
    "weight with a quote": ('"weight"', '"weight\'"'),
    "bias on two lines": ('"bias"', f'"bias\\n{_CODE}"'),
    "argument": (r"\"[]\"", r"\"[\\\"x" + f"']+[{_CODE}]+['" + r"\\\"]\""),
    "op": ("torch.ops.aten.linear.default", "os.system"),
    "op of another module": ("torch.ops.aten.linear.default", "torch.ops.aten.linear.default;os"),
    "op's module": ("torch.ops.aten.linear.default", "torch.ops.__class__"),
}


@pytest.mark.parametrize("kind", ATTACKS)
def test_names_in_programs_are_no_code(folder: Path, kind: str, tmp_path: Path) -> None:
    old, new = ATTACKS[kind]
    hits = 0

    def inject(archive: zipfile.ZipFile, inner: str, data: bytes) -> None:
        nonlocal hits
        if inner.endswith("models/model.json"):
            text = data.decode()
            hits += text.count(old)
            data = text.replace(old, new).encode()
            json.loads(data)
        archive.writestr(inner, data)

    bad = _changed(folder / "a.pt2", tmp_path / "a.pt2", inject)
    assert hits, "the program has no such name"
    assert "not a plain exported program" in refused(bad, folder)


def test_programs_of_other_versions(folder: Path, tmp_path: Path) -> None:
    """A schema of the future, and one that is no number."""
    for version in ('"major": 99', '"major": -1', '"major": "x"', '"major": null'):

        def other(
            archive: zipfile.ZipFile, inner: str, data: bytes, version: str = version
        ) -> None:
            if inner.endswith("models/model.json"):
                facts = json.loads(data)
                facts["schema_version"].update(json.loads(f"{{{version}}}"))
                data = json.dumps(facts).encode()
            archive.writestr(inner, data)

        refused(_changed(folder / "a.pt2", tmp_path / "a.pt2", other), folder)


def test_folders_and_special_files(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "d.pt2").mkdir()
    (tmp_path / "loop.pt").symlink_to(tmp_path / "loop.pt")
    (tmp_path / "gone.pt").symlink_to(tmp_path / "nowhere")
    for path in (*tmp_path.iterdir(), Path("/dev/null"), tmp_path / ("x" * 300), tmp_path / "\0"):
        with pytest.raises((SourceError, InputError)) as caught:
            open_source(path, model_factory=f"{folder / 'make.py'}:make")
        assert_one_line(caught.value)
        with pytest.raises(InputError) as caught:
            load_tensors(path)
        assert_one_line(caught.value)
