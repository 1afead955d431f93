"""Reading models: external data, weight paths, damaged files."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx.helper import make_node  # noqa: E402

from pytorch_to_mlx import onnx_backend  # noqa: E402
from pytorch_to_mlx.capture.onnx.capture import capture_onnx  # noqa: E402
from pytorch_to_mlx.capture.onnx.tensors import Paths  # noqa: E402
from pytorch_to_mlx.errors import SourceError  # noqa: E402
from pytorch_to_mlx.lower.onnx._registry import VersionedRegistry  # noqa: E402


@pytest.fixture
def saved(model, tmp_path):
    m = model(
        [make_node("Add", ["x", "w"], ["y"])],
        {"x": ("f", [3])},
        {"y": ("f", [3])},
        {"w": np.arange(3, dtype=np.float32)},
    )
    path = tmp_path / "models" / "m.onnx"
    path.parent.mkdir()
    onnx.save_model(m, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    return path


def test_external_data_beside_the_model_is_read(saved):
    captured = capture_onnx(saved)
    np.testing.assert_array_equal(np.array(captured.tensors["w"]), [0, 1, 2])


@pytest.mark.parametrize(
    "location", ["../w.bin", "/etc/hostname", "a/../../w.bin", "..\\w.bin", ""]
)
def test_external_data_elsewhere_is_refused(saved, location):
    m = onnx.load_model(str(saved), load_external_data=False)
    entry = next(e for e in m.graph.initializer[0].external_data if e.key == "location")
    entry.value = location
    saved.write_bytes(m.SerializeToString())
    with pytest.raises(SourceError):
        capture_onnx(saved)


def test_a_link_out_of_the_folder_is_refused(saved):
    data = saved.parent / "w.bin"
    data.rename(saved.parent.parent / "w.bin")
    data.symlink_to(saved.parent.parent / "w.bin")
    with pytest.raises(SourceError, match="links out"):
        capture_onnx(saved)


def test_a_length_beyond_the_file_is_refused(saved):
    m = onnx.load_model(str(saved), load_external_data=False)
    for e in m.graph.initializer[0].external_data:
        if e.key == "length":
            e.value = str(1 << 40)
    saved.write_bytes(m.SerializeToString())
    with pytest.raises(SourceError, match="outside its file"):
        capture_onnx(saved)


def test_garbage_is_no_model(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x08\x07" + b"\xff" * 100)
    with pytest.raises(SourceError):
        capture_onnx(path)


def test_weight_paths_are_identifiers_and_never_clash():
    paths = Paths()
    names = ["a.b", "a", "a.b", "/a/b/c", "x = 1\nimport os", "../../etc", "", "a:b"]
    found = [paths.path(n) for n in names]
    assert len(set(found)) == len(found)
    for path in found:
        assert all(part.isidentifier() or part.isalnum() for part in path.split("."))
        assert not any(other.startswith(path + ".") for other in found)


def test_the_registry_takes_the_newest_that_holds():
    registry = VersionedRegistry()
    old = registry.lowers("Op")(lambda: 1)
    new = registry.lowers("Op", since=5)(lambda: 5)
    assert registry.find("", "Op", 4) is old
    assert registry.find("ai.onnx", "Op", 13) is new
    assert registry.find("other", "Op", 13) is None
    with pytest.raises(ValueError, match="two lowerings"):
        registry.lowers("Op", since=5)(lambda: 6)


def test_names_that_look_like_code_are_only_names(model):
    m = model(
        [make_node("Add", ["x);import os#", "__import__('os')"], ["class"])],
        {"x);import os#": ("f", [3])},
        {"class": ("f", [3])},
        {"__import__('os')": np.ones(3, np.float32)},
        name="import os",
    )
    (y,) = onnx_backend.prepare(m).run([np.zeros(3, np.float32)])
    np.testing.assert_array_equal(y, [1, 1, 1])
