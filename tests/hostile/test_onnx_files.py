"""ONNX files that are broken, that lie, or that would take all time and memory there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
import onnxruntime as ort  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import pytorch_to_mlx as p2m  # noqa: E402
from pytorch_to_mlx.capture.onnx import source  # noqa: E402
from tests.hostile import onnx_bombs, onnx_cases, stages  # noqa: E402
from tests.hostile.foreign import bounds, converts, direct  # noqa: E402
from tests.hostile.inert import assert_inert  # noqa: E402
from tests.hostile.names import CODE, MARKUP, ODD  # noqa: E402

assert onnx_bombs  # which adds its cases
SECONDS, ROOM = 6.0, 3 << 30


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are tried in this process: a child for each would take longer than all else."""
    monkeypatch.setattr(source, "attempt", direct)


def written(model: Any, path: Path) -> Path:
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def assert_same_as_runtime(path: Path, package: Path) -> None:
    """The package gives what the runtime gives of that very file, where both have numbers."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    feed = {i.name: rng.standard_normal((2, 3)).astype("f") for i in session.get_inputs()}
    wanted = session.run(None, feed)
    got = p2m.load(package)(*feed.values())
    found = list(got.values()) if isinstance(got, dict) else [got]
    for a, b in zip(found, wanted, strict=True):
        a = np.array(a)
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("here")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", sorted(set(onnx_cases.CASES) - onnx_cases.BOMBS))
def test_broken_models(name: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = written(onnx_cases.CASES[name](), tmp_path_factory.mktemp("in") / "m.onnx")
    done = converts(path, tmp_path)
    assert done == (name in onnx_cases.HARMLESS), "refused" if not done else "converted"
    if done:
        assert p2m.validate(p2m.load(tmp_path / "out"), path, budget=5).passed


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", sorted(onnx_cases.CASES))
def test_broken_models_in_memory(name: str) -> None:
    """A ``ModelProto`` has no child before it: what is not run here is refused or converted too."""
    made = onnx_cases.CASES[name]()
    data = made if isinstance(made, bytes) else made.SerializeToString()
    tally = stages.Tally(*stages.ONNX)
    with stages.memory(ROOM):
        tally.case(lambda reached: stages.onnx_steps(data, reached))


@pytest.mark.parametrize("name", sorted(onnx_cases.BOMBS))
def test_bombs(name: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The child takes what they do; nothing of it reaches this process."""
    path = written(onnx_cases.CASES[name](), tmp_path_factory.mktemp("in") / "m.onnx")
    with bounds(SECONDS, ROOM):
        assert not converts(path, tmp_path)


@pytest.mark.usefixtures("here")
def test_truncated_models(tmp_path: Path) -> None:
    data = onnx_cases.good().SerializeToString()
    refused = 0
    for cut in range(1, len(data), 7):
        folder = tmp_path / str(cut)
        folder.mkdir()
        path = written(data[:cut], tmp_path / f"{cut}.onnx")
        if not converts(path, folder):
            refused += 1
        else:
            assert_same_as_runtime(path, folder / "out")
    assert refused > len(data) // 7 * 0.9


@pytest.mark.usefixtures("here")
def test_flipped_bits_of_weights(tmp_path: Path) -> None:
    """The model is another one then, which is converted as it is."""
    rng = np.random.default_rng(0)
    for number in range(12):
        model = onnx_cases.good()
        weight = model.graph.initializer[number % 2]
        raw = bytearray(weight.raw_data)
        for _ in range(1 + number % 3):
            raw[rng.integers(len(raw))] ^= 1 << int(rng.integers(8))
        if number > 8:
            raw[:4] = np.float32([np.nan, np.inf, -np.inf][number % 3]).tobytes()
        weight.raw_data = bytes(raw)
        path, folder = written(model, tmp_path / f"{number}.onnx"), tmp_path / str(number)
        folder.mkdir()
        assert converts(path, folder)
        assert_same_as_runtime(path, folder / "out")


@pytest.mark.usefixtures("here")
def test_flipped_bits_anywhere(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = onnx_cases.good().SerializeToString()
    for number in range(60):
        raw = bytearray(data)
        raw[rng.integers(len(raw))] ^= 1 << int(rng.integers(8))
        path, folder = written(bytes(raw), tmp_path / f"{number}.onnx"), tmp_path / str(number)
        folder.mkdir()
        if converts(path, folder):
            assert_same_as_runtime(path, folder / "out")


def _named(names: list[str]) -> Any:
    """A model whose every name is one of six."""
    x, w, y, made, module, other = names
    held = numpy_helper.from_array(np.ones(3, "f"), w)
    nodes = [
        helper.make_node("Add", [x, w], [made], name=f"/{module}/Add"),
        helper.make_node("Relu", [made], [y], name=other),
    ]
    graph = helper.make_graph(
        nodes,
        other or "g",
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, [module or "n", 3])],
        [helper.make_tensor_value_info(y, TensorProto.FLOAT, [module or "n", 3])],
        [held],
        doc_string=module,
    )
    model = helper.make_model(graph, producer_name=other, doc_string=other, ir_version=10)
    del model.opset_import[:]
    model.opset_import.append(helper.make_operatorsetid("", 21))
    helper.set_model_props(model, {other or "a": module})
    return model


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return bool(text)


@pytest.mark.usefixtures("here")
def test_names_are_names(tmp_path: Path) -> None:
    """Code, paths and markup in every place where a model has a name."""
    names = [n for n in (*CODE, *MARKUP, *ODD) if _encodable(n)]
    rng = np.random.default_rng(0)
    names = [names[i] for i in rng.permutation(len(names))]
    done = 0
    for start in range(0, len(names) - 5, 6):
        path = written(_named(names[start : start + 6]), tmp_path / f"{start}.onnx")
        folder = tmp_path / str(start)
        folder.mkdir()
        if converts(path, folder):
            assert_inert(folder / "out")
            assert_same_as_runtime(path, folder / "out")
            done += 1
    assert done > len(names) // 6 * 0.8, "most names are no reason to refuse a model"


def _elsewhere(tensor: TensorProto, location: str) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)


def _holders() -> dict[str, tuple[Any, TensorProto]]:
    """Models, each with a tensor in another place of it."""
    weight = numpy_helper.from_array(np.ones(3, "f"), "w")
    found: dict[str, tuple[Any, TensorProto]] = {}
    add = helper.make_node("Add", ["x", "w"], ["y"])
    m = onnx_cases.model([add], [weight])
    found["weight"] = m, m.graph.initializer[0]
    m = onnx_cases.model([helper.make_node("Constant", [], ["w"], value=weight), add])
    found["constant"] = m, m.graph.node[0].attribute[0].t
    branch = helper.make_graph(
        [add], "b", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])], [weight]
    )
    choice = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    m = onnx_cases.model([choice], [numpy_helper.from_array(np.array(True), "c")])
    found["body"] = m, m.graph.node[0].attribute[0].g.initializer[0]
    inner = onnx_cases.function(
        "F", [helper.make_node("Constant", [], ["w"], value=weight), add], "y"
    )
    call = helper.make_node("F", ["x"], ["y"], domain="f")
    m = onnx_cases.model([call], functions=[inner], domains=["f"])
    found["function"] = m, m.functions[0].node[0].attribute[0].t
    return found


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("holder", ["weight", "constant", "body", "function"])
def test_tensors_in_other_places(holder: str, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "w.bin").write_bytes(np.ones(3, "f").tobytes())
    (inside / "link.bin").symlink_to(tmp_path / "w.bin")
    (inside / "folder").mkdir()
    places = ["../w.bin", str(tmp_path / "w.bin"), "link.bin", "a/../../w.bin", "", "folder"]
    places += ["/dev/zero", "missing.bin", "..\\w.bin", "\0", "x" * 5000]
    for number, place in enumerate(places):
        model, tensor = _holders()[holder]
        _elsewhere(tensor, place)
        folder = tmp_path / str(number)
        folder.mkdir()
        assert not converts(written(model, inside / "m.onnx"), folder), place


@pytest.mark.usefixtures("here")
def test_lengths_of_external_tensors(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(np.ones(3, "f").tobytes())
    entries = [
        *({"offset": v} for v in ("-4", "8", "1" * 30, "x", "4096")),
        *({"length": v} for v in ("-1", "4", "1" * 30, "0x10", str(1 << 40))),
    ]
    for number, more in enumerate(entries):
        model, tensor = _holders()["weight"]
        _elsewhere(tensor, "w.bin")
        for key, value in more.items():
            tensor.external_data.add(key=key, value=value)
        folder = tmp_path / str(number)
        folder.mkdir()
        assert not converts(written(model, tmp_path / "m.onnx"), folder), more


@pytest.mark.usefixtures("here")
def test_garbage_under_the_name(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, 3000, dtype=np.uint8).tobytes()
    for number, data in enumerate((b"", b"\0", noise, b"\x08\x0a\x3a" + noise, b"\x3a\x00")):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert not converts(written(data, tmp_path / "m.onnx"), folder)


def test_a_child_is_the_first_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary model passes; what the child says reaches the user as its own class."""
    path = written(onnx_cases.good(), tmp_path / "m.onnx")
    folder = tmp_path / "a"
    folder.mkdir()
    assert converts(path, folder)
    assert_same_as_runtime(path, folder / "out")
    written(onnx_cases.CASES["a_cycle"](), path)
    monkeypatch.setattr(source, "_captured", lambda *_: pytest.fail("read before it was tried"))
    with pytest.raises(p2m.errors.SourceError, match="topologically"):
        p2m.convert(path)
