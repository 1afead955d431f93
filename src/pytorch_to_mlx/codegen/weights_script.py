"""Writes ``convert_weights.py``: source checkpoint names and layouts to the package's.

The same script fills ``model.safetensors`` at conversion and turns a fine-tune of the same
architecture
into new weights later.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping

from pytorch_to_mlx.codegen.flat import FlatWriter
from pytorch_to_mlx.codegen.library import library_source
from pytorch_to_mlx.codegen.source import format_source
from pytorch_to_mlx.graph import Param
from pytorch_to_mlx.graph.dtypes import DType

_SCRIPT = '''"""Turns a checkpoint of the source model into this package's weights.

    python convert_weights.py {example} [output_folder]

``checkpoint`` is {accepted}.
"""

from __future__ import annotations

import json
{math}import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import mlx.core as mx

# Other names under which a checkpoint may hold a tensor (tied weights).
ALIASES = {aliases}

# Tensors that checkpoints do not hold; they are taken over from this package.
KEPT = {kept}

# Floating dtypes of the source's tensors; a checkpoint of another precision is cast before anything
# is computed.
FLOATING = {floating}

{helpers}

def convert(source: Mapping[str, mx.array]) -> Iterator[tuple[str, mx.array]]:
    """Name and array of every weight of the package, in the order of their names."""
    for name in NAMES:
        yield name, weight(name, source)


def weight(name: str, source: Mapping[str, mx.array]) -> mx.array:
    """One weight of the package from the source's tensors."""
{rules}


NAMES = {names}

{rename_tables}

class Checkpoint(Mapping):
    """The tensors of a checkpoint file by name; tied and kept ones are found under every name."""

    def __init__(self, path: str, package: Path) -> None:
        self.tensors = read_checkpoint(path)
        self.package: dict[str, mx.array] = {{}}
        for file in sorted(package.glob("model*.safetensors")):
            self.package.update(mx.load(str(file)))
{unpack}
    def __getitem__(self, name: str) -> mx.array:
        for candidate in (name, *ALIASES.get(name, ())):
            if candidate in self.tensors:
                tensor = self.tensors[candidate]
                return tensor.astype(FLOATING[name]) if name in FLOATING else tensor
        sys.exit(f"the checkpoint has no tensor {{name!r}}")

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


def fitted(name: str, new: mx.array, old: mx.array) -> mx.array:
    """The new weight in the package's dtype; another shape is no fine-tune of this model."""
    if new.shape != old.shape:
        sys.exit(f"{{name}} has shape {{new.shape}}, this package has {{old.shape}}")
    return new.astype(old.dtype) if mx.issubdtype(old.dtype, mx.floating) else new


def parts_of(name: str) -> tuple[str, ...]:
    """The names under which a weight is held if its layer is quantized."""
    layer = name.rpartition(".")[0]
    return name, f"{{layer}}.scales", f"{{layer}}.biases"


def packed(name: str, new: mx.array, old: Mapping[str, mx.array], how: Mapping) -> dict:
    """The new weight of a quantized layer, quantized as this package's is."""
    scales = old[parts_of(name)[1]]
    if mx.issubdtype(scales.dtype, mx.floating):
        new = new.astype(scales.dtype)
    parts = mx.quantize(new, how["group_size"], how["bits"], mode=how["mode"])
    return {{n: fitted(n, part, old[n]) for n, part in zip(parts_of(name), parts)}}


{reader}

def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    here = Path(__file__).parent
    target = Path(sys.argv[2]) if len(sys.argv) == 3 else here
    checkpoint = Checkpoint(sys.argv[1], here)
    missing = [name for name in NAMES if name not in checkpoint.package]
    if missing:
        sys.exit(f"this package's own weights lack {{missing[0]}}")
    config = json.loads((here / "config.json").read_text(encoding="utf-8"))
    if config.get("folded") and not set(FLOATING) <= set(checkpoint.tensors):
        sys.exit(
            "this package took the 8-bit weights of its source apart, which that file holds as "
            "they were: convert it anew (--quantize source)"
        )
    quantized = config.get("quantization", {{}}).get("layers", {{}})
    weights, old = {{}}, checkpoint.package
    for name in NAMES:
        layer, _, leaf = name.rpartition(".")
        if name in KEPT:
            weights.update({{n: old[n] for n in parts_of(name) if n in old}})
        elif leaf == "weight" and layer in quantized:
            weights.update(packed(name, weight(name, checkpoint), old, quantized[layer]))
        else:
            weights[name] = fitted(name, weight(name, checkpoint), old[name])
{pack}    mx.eval(weights)
    target.mkdir(parents=True, exist_ok=True)
    draft, done = target / ".draft.safetensors", target / "model.safetensors"
    try:
        mx.save_safetensors(str(draft), weights, metadata={{"format": "mlx"}})
        draft.replace(done)
    finally:
        draft.unlink(missing_ok=True)
    for file in sorted(target.glob("model*.safetensors*")):
        if file != done:
            file.unlink()
    print(f"{{len(weights)}} tensors written to {{target / 'model.safetensors'}}")


if __name__ == "__main__":
    main()
'''


_UNPACK = """        with mx.stream(mx.cpu):  # float64 is stored as pairs of uint32
            for name in {names}:
                self.package[name] = self.package[name].view(mx.float64).squeeze(-1)
"""

_PACK = """    with mx.stream(mx.cpu):
        for name in {names}:
            weights[name] = weights[name][..., None].view(mx.uint32)
"""

_TORCH = '''def read_checkpoint(path: str) -> dict[str, mx.array]:
    """Tensors of a safetensors or torch file."""
    if path.endswith(".safetensors"):
        return mx.load(path)
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    state = state.get("state_dict", state)
    return {k: to_mlx(v) for k, v in state.items() if isinstance(v, torch.Tensor)}


def to_mlx(tensor) -> mx.array:
    """A torch tensor as an MLX array of the same dtype (float64 becomes float32)."""
    import torch

    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return mx.array(tensor.view(torch.int16).numpy()).view(mx.bfloat16)
    if tensor.dtype == torch.float64:
        tensor = tensor.float()
    return mx.array(tensor.numpy())
'''

_ONNX = '''def read_checkpoint(path: str) -> dict[str, mx.array]:
    """Tensors of a safetensors or ONNX file by their names."""
    if path.endswith(".safetensors"):
        return mx.load(path)
    import onnx

    graph = onnx.load(path).graph  # external data in the file's folder included
    return {name: to_mlx(onnx.numpy_helper.to_array(t)) for name, t in tensors_of(graph)}


def tensors_of(graph) -> Iterator[tuple]:
    """Initializers and constants by name, those of branches and loops too."""
    yield from ((t.name, t) for t in graph.initializer)
    for node in graph.node:
        for a in node.attribute:
            if node.op_type == "Constant" and a.name == "value":
                yield node.output[0], a.t
            for body in (*([a.g] if a.HasField("g") else ()), *a.graphs):
                yield from tensors_of(body)


def to_mlx(array) -> mx.array:
    """A numpy array as an MLX array; int4 and the like as int8, float8 as float32."""
    name = array.dtype.name
    if name == "bfloat16":
        return mx.array(array.view("uint16")).view(mx.bfloat16)
    if name == "float64":
        with mx.stream(mx.cpu):
            return mx.array(array, dtype=mx.float64)
    if name in ("int4", "int2", "uint4", "uint2"):
        array = array.astype(name[:-1] + "8")
    elif name.startswith(("float8", "float4")):
        array = array.astype("float32")
    return mx.array(array)
'''

_READERS = {
    "aten": (
        "checkpoint.safetensors",
        "a .safetensors file or a torch checkpoint (.pt, .pth, .bin: those need torch)",
        _TORCH,
    ),
    "onnx": ("model.onnx", "another .onnx file of this graph (needs onnx) or .safetensors", _ONNX),
}


def weights_script(
    weights: Mapping[str, Param],
    *,
    aliases: Mapping[str, str],
    kept: set[str],
    frontend: str = "aten",
) -> str:
    """The script's text, for checkpoints of the source's kind.

    ``aliases`` maps other source names to canonical ones; ``kept`` are emitted names that
    checkpoints lack.
    """
    used_ops: set[str] = set()
    groups: dict[str, list[tuple[str, tuple[str, ...]]]] = defaultdict(list)
    for name, p in weights.items():
        text, ops = _rule(p)
        used_ops |= ops
        groups[text].append((name, p.sources))
    helpers, _ = library_source(used_ops)
    lines, tables = _rules(groups)
    by_canonical: dict[str, list[str]] = defaultdict(list)
    for other, canonical in aliases.items():
        by_canonical[canonical].append(other)
    sources = {s for p in weights.values() for s in p.sources}
    example, accepted, reader = _READERS[frontend]
    doubles = tuple(n for n, p in weights.items() if str(p.value.dtype) == "float64")
    script = _SCRIPT.format(
        unpack=_UNPACK.format(names=doubles) if doubles else "",
        pack=_PACK.format(names=doubles) if doubles else "",
        example=example,
        accepted=accepted,
        reader=reader,
        math="import math\n" if "math." in "".join(helpers) or "math." in "".join(lines) else "",
        aliases=repr({k: tuple(v) for k, v in by_canonical.items() if k in sources}),
        kept=repr(tuple(sorted(kept))),
        floating=_floating(weights),
        helpers="\n\n\n".join(helpers),
        rules="\n".join(lines),
        names=repr(tuple(weights)),
        rename_tables="\n\n".join(tables),
    )
    return format_source(script)


def _floating(weights: Mapping[str, Param]) -> str:
    """``dict.fromkeys((names), mx.float32) | ...``, a group a dtype."""
    by_dtype: dict[str, list[str]] = defaultdict(list)
    for p in weights.values():
        inputs = [p.value] if p.recipe is None else p.recipe.inputs
        for path, v in zip(p.sources, inputs, strict=True):
            if DType(str(v.dtype)).is_floating and path not in by_dtype[str(v.dtype)]:
                by_dtype[str(v.dtype)].append(path)
    groups = [f"dict.fromkeys({tuple(n)!r}, mx.{d})" for d, n in sorted(by_dtype.items()) if n]
    return " | ".join(groups) or "{}"


def _rule(p: Param) -> tuple[str, set[str]]:
    """The expression of a weight over ``source[s0]``, ``source[s1]``, ... and the library functions
    it calls.
    """
    if p.recipe is None:
        e: ast.expr = _source(0)
        ops: set[str] = set()
    else:
        writer = FlatWriter({v: _source(i) for i, v in enumerate(p.recipe.inputs)})
        e, ops = writer.expression(p.recipe), writer.used_ops
    return ast.unparse(ast.fix_missing_locations(ast.Expr(e))), ops


def _source(i: int) -> ast.expr:
    return ast.parse(f"source[s{i}]", mode="eval").body


def _rules(groups: Mapping[str, list[tuple[str, tuple[str, ...]]]]) -> tuple[list[str], list[str]]:
    """Branches of ``weight`` and the tables of names they look into; plain copies come last."""
    lines: list[str] = []
    tables: list[str] = []
    plain = groups.get("source[s0]", [])
    for text, members in groups.items():
        if text == "source[s0]":
            continue
        table = f"COMPUTED_{len(tables) + 1}"
        tables.append(f"{table} = {dict(members)!r}")
        count = len(members[0][1])
        names = ", ".join(f"s{i}" for i in range(count))
        lines.append(f"    if name in {table}:")
        if count:
            lines.append(f"        {names}{',' if count == 1 else ''} = {table}[name]")
        lines.append(f"        return {text}")
    renamed = {name: sources[0] for name, sources in plain if name != sources[0]}
    tables.append(f"# Weights whose name differs from the source's.\nRENAMED = {renamed!r}")
    lines.append("    return source[RENAMED.get(name, name)]")
    return lines, tables
