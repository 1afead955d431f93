from __future__ import annotations

import copy
import io
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pytorch_to_mlx.errors import SourceError, WeightError
from pytorch_to_mlx.sources import OpenedSource, open_source

FILE = Path(__file__).with_name("models_for_tests.py")


@pytest.fixture
def encoder() -> torch.nn.Module:
    torch.manual_seed(0)
    module = open_source(f"{FILE}:Encoder").module
    assert module is not None
    return module


def refused(source: Any, **options: Any) -> str:
    """The one line with which a source is refused."""
    with pytest.raises((SourceError, WeightError)) as caught:
        open_source(source, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert caught.value.exit_code == 2
    return text


# --- factories ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["only_module", "Encoder"])
def test_factory_of_a_module(name: str) -> None:
    opened = open_source(f"{FILE}:{name}")
    assert opened.kind == "module"
    assert not opened.has_examples
    assert opened.dynamic_shapes == "auto"
    assert opened.path == FILE
    assert len(opened.sha256) == 64


@pytest.mark.parametrize("name", ["with_args", "with_bare_arg", "with_kwargs", "with_all"])
def test_factory_with_inputs(name: str) -> None:
    opened = open_source(f"{FILE}:{name}")
    assert opened.module is not None
    assert opened.module(*opened.args, **opened.kwargs).shape == (2, 4)
    assert opened.dynamic_shapes == (None if name == "with_all" else "auto")


def test_factory_of_a_program() -> None:
    opened = open_source(f"{FILE}:exported")
    assert opened.kind == "exported_program"
    assert opened.args[0].shape == (2, 3)


def test_factory_failures_show_the_users_line() -> None:
    assert f"{FILE}:{_line('raise RuntimeError')}" in refused(f"{FILE}:fails")
    assert "no such weights" in refused(f"{FILE}:fails")
    assert "it defines: Encoder" in refused(f"{FILE}:nothing")
    assert "returned str" in refused(f"{FILE}:returns_text")
    assert "no such file" in refused("nowhere.py:factory")
    assert "name the factory" in refused(str(FILE))


def _line(text: str) -> int:
    lines = FILE.read_text().splitlines()
    return 1 + next(i for i, line in enumerate(lines) if text in line)


def test_a_file_that_does_not_import(tmp_path: Path) -> None:
    (tmp_path / "syntax.py").write_text("x = 1\ndef f(:\n")
    (tmp_path / "missing.py").write_text("import no_such_package_anywhere\n")
    (tmp_path / "exits.py").write_text("raise SystemExit(3)\n")
    assert "syntax.py:2" in refused(f"{tmp_path}/syntax.py:f")
    assert "no_such_package_anywhere" in refused(f"{tmp_path}/missing.py:f")
    assert "SystemExit" in refused(f"{tmp_path}/exits.py:f")


def test_a_file_imports_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "p2m_neighbour.py").write_text("SIZE = 5\n")
    (tmp_path / "main.py").write_text(
        "import torch\ndef make():\n    from p2m_neighbour import SIZE\n"
        "    return torch.nn.Linear(SIZE, 1)\n"
    )
    module = open_source(f"{tmp_path}/main.py:make").module
    assert module is not None
    assert module.weight.shape == (1, 5)


# --- live objects and methods ------------------------------------------------------------------


def test_live(encoder: torch.nn.Module) -> None:
    assert open_source(encoder).module is encoder
    program = torch.export.export(encoder, (torch.zeros(2, 3),))
    assert open_source(program).args[0].shape == (2, 3)


def test_live_refusals(encoder: torch.nn.Module) -> None:
    assert "state dict has no code" in refused(encoder.state_dict())
    assert "cannot convert a int" in refused(3)
    assert "MLX object already" in refused(_mlx_linear())


def _mlx_linear() -> Any:
    import mlx.nn

    return mlx.nn.Linear(1, 1)


def test_method_keeps_names_and_original(encoder: torch.nn.Module) -> None:
    x = torch.randn(2, 3)
    other = open_source(encoder, method="encode").module
    assert other is not None
    assert list(other.state_dict()) == list(encoder.state_dict())
    assert other.proj is encoder.proj
    torch.testing.assert_close(other(x, scale=3.0), encoder.encode(x, scale=3.0))
    torch.testing.assert_close(copy.deepcopy(other)(x), encoder.encode(x))
    torch.testing.assert_close(encoder(x), encoder.proj(x) * 2)
    program = torch.export.export(other, (x,), {"scale": 2.0}, strict=False)
    assert list(program.state_dict) == ["proj.weight", "proj.bias"]
    torch.testing.assert_close(program.module()(x, scale=2.0), encoder.encode(x, scale=2.0))


def test_method_without_the_hooks_of_forward(encoder: torch.nn.Module) -> None:
    encoder.register_forward_hook(lambda module, args, output: output * 0)
    other = open_source(encoder, method="encode").module
    assert other is not None
    x = torch.randn(2, 3)
    torch.testing.assert_close(other(x), encoder.proj(x) * 2 + 1)


def test_method_refusals(encoder: torch.nn.Module) -> None:
    assert "its own methods: encode, forward" in refused(encoder, method="decode")
    assert "no method 'training'" in refused(encoder, method="training")
    assert "only the method" in refused(f"{FILE}:exported", method="encode")


# --- checkpoints -------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrap", ["plain", "state_dict", "module.", "lightning"])
def test_state_dicts(encoder: torch.nn.Module, tmp_path: Path, wrap: str, zipped: bool) -> None:
    state: Any = {key: value + 1 for key, value in encoder.state_dict().items()}
    expected = state
    if wrap == "state_dict":
        state = {"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}}
    elif wrap == "module.":
        state = {f"module.{key}": value for key, value in state.items()}
    elif wrap == "lightning":
        state = {"state_dict": {f"model.{key}": value for key, value in state.items()}, "step": 1}
    path = tmp_path / "weights.bin"  # the extension does not matter
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    opened = open_source(path, model_factory=f"{FILE}:with_args")
    assert opened.module is not None
    assert opened.has_examples
    assert bool(opened.notes) == (wrap in ("module.", "lightning"))
    for key, value in opened.module.state_dict().items():
        torch.testing.assert_close(value, expected[key])


def test_safetensors(encoder: torch.nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    save_file(dict(encoder.state_dict()), path)
    opened = open_source(path, model_factory=lambda: type(encoder)())
    assert opened.module is not None
    torch.testing.assert_close(opened.module.state_dict(), encoder.state_dict())
    assert "add --model" in refused(path)


def test_meta_factory_takes_the_weights(encoder: torch.nn.Module, tmp_path: Path) -> None:
    torch.save(encoder.state_dict(), tmp_path / "w.pt")
    with torch.device("meta"):
        shell = type(encoder)()
    module = open_source(tmp_path / "w.pt", model_factory=shell).module
    assert module is not None
    torch.testing.assert_close(module.state_dict(), encoder.state_dict())


def test_state_dict_refusals(encoder: torch.nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save(encoder.state_dict(), path)
    assert "add --model file.py:factory" in refused(path)
    assert "is not file.py:factory" in refused(path, model_factory="factory")
    text = refused(path, model_factory=lambda: torch.nn.Linear(3, 4))
    assert "2 missing (bias, weight)" in text
    assert "2 not in the model (proj.bias, proj.weight)" in text
    torch.save({"proj.weight": torch.zeros(4, 9), "proj.bias": torch.zeros(4)}, path)
    text = refused(path, model_factory=f"{FILE}:Encoder")
    assert "proj.weight is (4, 9), not (4, 3)" in text
    torch.save({"a": {"x": torch.zeros(1)}, "b": {"x": torch.zeros(1)}}, path)
    assert "several state dicts: a, b" in refused(path, model_factory=f"{FILE}:Encoder")
    torch.save({"epoch": 1}, path)
    assert "no state dict (its keys: epoch)" in refused(path, model_factory=f"{FILE}:Encoder")
    torch.save(torch.zeros(1), path)
    assert "holds a Tensor" in refused(path, model_factory=f"{FILE}:Encoder")


@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_modules_need_trust(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "module.pt"
    torch.save(torch.nn.Linear(2, 1), path, _use_new_zipfile_serialization=zipped)
    text = refused(path)
    assert "--trust-code" in text
    assert not zipped or "torch.nn.modules.linear.Linear" in text
    opened = open_source(path, trust_code=True)
    assert isinstance(opened.module, torch.nn.Linear)


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_no_pickle_runs_without_trust(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for zipped in (True, False):
        path = tmp_path / f"evil{zipped}.pt"
        torch.save({"w": Payload(mark)}, path, _use_new_zipfile_serialization=zipped)
        refused(path, model_factory=f"{FILE}:Encoder")
    assert not mark.exists()


def test_pickle_of_an_unknown_class(encoder: torch.nn.Module, tmp_path: Path) -> None:
    import sys

    path = tmp_path / "module.pt"
    torch.save(encoder, path)
    module = sys.modules.pop(type(encoder).__module__)
    try:
        assert "not importable here" in refused(path, trust_code=True)
    finally:
        sys.modules[type(encoder).__module__] = module


# --- .pt2 --------------------------------------------------------------------------------------


@pytest.fixture
def program_path(encoder: torch.nn.Module, tmp_path: Path) -> Path:
    path = tmp_path / "model.pt2"
    dims = {"x": {0: torch.export.Dim("batch")}}
    program = torch.export.export(encoder, (torch.zeros(2, 3),), dynamic_shapes=dims)
    torch.export.save(program, path)
    return path


def _rewritten(path: Path, change: Any) -> Path:
    """A copy of an archive with entries changed (``change(name, data)`` gives the new data)."""
    copied = path.with_name("changed.pt2")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copied, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return copied


def test_program(program_path: Path, encoder: torch.nn.Module) -> None:
    x = torch.randn(5, 3)
    for path in (program_path, shutil.copy(program_path, program_path.with_name("other.bin"))):
        opened = open_source(path)
        assert opened.kind == "exported_program"
        assert opened.args[0].shape == (2, 3)
        assert opened.exported_program is not None
        torch.testing.assert_close(opened.exported_program.module()(x), encoder(x))
    assert "--model does not apply" in refused(program_path, model_factory=f"{FILE}:Encoder")


def test_program_with_pickled_code_is_refused(program_path: Path) -> None:
    mark = program_path.with_name("ran")
    buffer = io.BytesIO()
    torch.save(((Payload(mark),), {}), buffer)

    def inject(name: str, data: bytes) -> bytes:
        return buffer.getvalue() if "sample_inputs" in name else data

    text = refused(_rewritten(program_path, inject))
    assert "Python objects" in text
    assert "--trust-code" in text
    assert not mark.exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"torch.ops.aten.mul.Tensor", b"torch.hub.load"),
        (b"torch.ops.aten.mul.Tensor", b"torch.ops.load_library"),
        (b"torch.ops.aten.mul.Tensor", b"_operator.methodcaller"),
        (b"Symbol(", b"__import__('os').system("),
        (b"Symbol(", b"eval("),
    ],
)
def test_program_that_calls_other_code_is_refused(
    program_path: Path, old: bytes, new: bytes
) -> None:
    with zipfile.ZipFile(program_path) as archive:
        assert any(old in archive.read(name) for name in archive.namelist())

    def inject(name: str, data: bytes) -> bytes:
        return data.replace(old, new) if name.endswith("model.json") else data

    assert "not a plain exported program" in refused(_rewritten(program_path, inject))


def test_damaged_program(program_path: Path) -> None:
    def break_json(name: str, data: bytes) -> bytes:
        return data[:100] if name.endswith("model.json") else data

    assert "cut short or damaged" in refused(_rewritten(program_path, break_json))

    def other_schema(name: str, data: bytes) -> bytes:
        return data.replace(b'"major": 8', b'"major": 99') if name.endswith("model.json") else data

    refused(_rewritten(program_path, other_schema))


# --- everything else ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pt", "old_pt", "pt2", "safetensors"])
@pytest.mark.parametrize("size", [1, 9, 100, 600])
def test_cut_short(
    encoder: torch.nn.Module, program_path: Path, tmp_path: Path, kind: str, size: int
) -> None:
    path = tmp_path / f"cut.{kind.removeprefix('old_')}"
    if kind == "pt2":
        shutil.copy(program_path, path)
    elif kind == "safetensors":
        save_file(dict(encoder.state_dict()), path)
    else:
        torch.save(encoder.state_dict(), path, _use_new_zipfile_serialization=kind == "pt")
    data = path.read_bytes()
    path.write_bytes(data[: min(size, len(data) - 20)])
    refused(path, model_factory=f"{FILE}:Encoder")


@pytest.mark.parametrize("kind", ["pt", "old_pt", "pt2", "safetensors"])
def test_flipped_bytes(
    encoder: torch.nn.Module, program_path: Path, tmp_path: Path, kind: str
) -> None:
    """Damage anywhere opens, or is refused in one line; it never escapes as another error."""
    path = tmp_path / "good"
    if kind == "pt2":
        path = program_path
    elif kind == "safetensors":
        save_file(dict(encoder.state_dict()), path)
    else:
        torch.save(encoder.state_dict(), path, _use_new_zipfile_serialization=kind == "pt")
    data, rng = path.read_bytes(), np.random.default_rng(0)
    bad = tmp_path / "bad"
    for count in (1, 3, 30) * 12:
        changed = bytearray(data)
        for position in rng.integers(0, len(data), count):
            changed[position] = rng.integers(0, 256)
        bad.write_bytes(changed)
        try:
            open_source(bad, model_factory=None if kind == "pt2" else f"{FILE}:Encoder")
        except (SourceError, WeightError) as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("name", ["m.onnx", "m.bin"])
def test_an_onnx_model_is_told_by_its_content(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x08\x08\x12\x07pytorch\x1a\x052.0.0:\x10")
    opened = open_source(path)
    assert (opened.kind, opened.onnx) == ("onnx", path)
    with pytest.raises(SourceError, match="no methods"):
        open_source(path, method="encode")
    with pytest.raises(SourceError, match="--model does not apply"):
        open_source(path, model_factory="a.py:f")


CONTENTS = {
    "gguf": (b"GGUF\x03\x00\x00\x00", "GGUF"),
    "h5": (b"\x89HDF\r\n\x1a\n", "HDF5"),
    "tflite": (b"\x1c\x00\x00\x00TFL3", "TensorFlow Lite"),
    "pte": (b"\x1c\x00\x00\x00ET12", "ExecuTorch"),
    "pt": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "pth": (b"<!DOCTYPE html><html>", "web page"),
    "npy": (b"\x93NUMPY\x01\x00", "--args"),
    "txt": (b"hello", "no model that is known"),
    "ckpt": (b"hello", "no PyTorch file"),
    "pt2": (b"", "empty"),
}


@pytest.mark.parametrize("suffix", CONTENTS)
def test_other_contents(tmp_path: Path, suffix: str) -> None:
    data, words = CONTENTS[suffix]
    path = tmp_path / f"file.{suffix}"
    path.write_bytes(data)
    assert words in refused(path)
    if data and suffix not in ("ckpt", "txt"):  # by content, whatever the name
        assert words in refused(path.rename(tmp_path / "file.weights"))


def test_zip_archives(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.ones(1))
    assert "numpy archive" in refused(tmp_path / "x.npz")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.txt", "x")
    assert "zip archive" in refused(tmp_path / "x.zip")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["config.json"], "Hugging Face"),
        (["model.py", "config.json", "convert_weights.py"], "already converted"),
        (["saved_model.pb"], "SavedModel"),
        (["Manifest.json"], "Core ML"),
        ([], "a folder"),
    ],
)
def test_folders(tmp_path: Path, names: list[str], words: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert words in refused(tmp_path)


def test_missing_files_name_their_neighbours(tmp_path: Path) -> None:
    (tmp_path / "model.pt2").touch()
    assert "model.pt2" in refused(tmp_path / "modle.pt2")
    assert "does not exist either" in refused(tmp_path / "no" / "model.pt2")


def test_opened_source_defaults() -> None:
    assert not OpenedSource("module", "nothing").has_examples
