"""The options that commands share, each defined once."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer


class Dtype(str, Enum):
    """What ``--dtype`` takes."""

    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"


_INPUTS, _MODEL, _PROOF, _OUTPUT = "Example inputs", "Model", "Proof", "Messages"

Input = Annotated[
    str,
    typer.Option(
        "--input",
        "-i",
        help="A .pt2 program, a .pt/.pth/.safetensors checkpoint, or file.py:factory.",
        metavar="SOURCE",
        rich_help_panel=_MODEL,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="file.py:factory that builds the module a state dict belongs to.",
        metavar="FILE.PY:FACTORY",
        rich_help_panel=_MODEL,
    ),
]
Method = Annotated[
    str | None,
    typer.Option(help="Convert this method instead of forward.", rich_help_panel=_MODEL),
]
TrustCode = Annotated[
    bool,
    typer.Option(
        "--trust-code",
        help="Unpickle whole modules; such a file can run any code.",
        rich_help_panel=_MODEL,
    ),
]
Args = Annotated[
    Path | None,
    typer.Option(
        "--args", help="A .npz, .safetensors or .pt with the inputs.", rich_help_panel=_INPUTS
    ),
]
Shapes = Annotated[
    str | None,
    typer.Option(
        help='Seeded inputs, e.g. "x=2x3x224x224:float32,ids=1x12:int64[0,1000)".',
        rich_help_panel=_INPUTS,
    ),
]
Dynamic = Annotated[
    str | None,
    typer.Option(
        help='Dynamic dimensions: "auto" (default), "none", or e.g. "x:0,2;ids:1".',
        rich_help_panel=_INPUTS,
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of drawn inputs.", rich_help_panel=_INPUTS)]
Tolerance = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        help="Largest error allowed, as a share of the output's scale (default 1e-4 in fp32).",
        rich_help_panel=_PROOF,
    ),
]
Budget = Annotated[
    float,
    typer.Option(
        "--validate-budget",
        min=0.0,
        metavar="SECONDS",
        help="Seconds of proof; after that only what must be compared is, and the rest is named.",
        rich_help_panel=_PROOF,
    ),
]
Compile = Annotated[
    bool,
    typer.Option("--compile", help="Benchmark torch.compile as well.", rich_help_panel=_PROOF),
]
FoldBatchNorm = Annotated[
    bool,
    typer.Option(
        "--fold-batch-norm/--keep-batch-norm",
        help="Fold batch norms into the convolution before them.",
        rich_help_panel=_MODEL,
    ),
]
Ops = Annotated[
    list[Path] | None,
    typer.Option(
        "--ops",
        help="A file of functions marked @implements, for ops that are not known (repeatable).",
        metavar="FILE.PY",
        rich_help_panel=_MODEL,
    ),
]
_AGENT = "Agent"
Agent = Annotated[
    str | None,
    typer.Option(
        "--agent",
        help="An OpenAI-compatible address to ask for ops that are not known (never by default).",
        metavar="URL",
        rich_help_panel=_AGENT,
    ),
]
AgentModel = Annotated[str, typer.Option(help="The model to ask.", rich_help_panel=_AGENT)]
AgentTries = Annotated[
    int, typer.Option(min=1, max=20, help="Answers to try for each op.", rich_help_panel=_AGENT)
]
AgentDryRun = Annotated[
    bool,
    typer.Option("--agent-dry-run", help="Print what would be sent.", rich_help_panel=_AGENT),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object on stdout.", rich_help_panel=_OUTPUT),
]
Quietly = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print errors only.", rich_help_panel=_OUTPUT)
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.", rich_help_panel=_OUTPUT)]
Original = Annotated[
    str | None,
    typer.Option(
        "--input",
        "-i",
        help="The original model, as for `convert`.",
        metavar="SOURCE",
        rich_help_panel=_MODEL,
    ),
]
Package = Annotated[Path, typer.Argument(help="A folder that `convert` wrote.", metavar="FOLDER")]

_QUANTIZE = "Quantization"
How = "BITS|mixed|auto|mxfp4|mxfp8|nvfp4|RECIPE.json"
Quantize = Annotated[
    str | None,
    typer.Option(
        help="Quantize layers: 8 or 4 bits, mixed (attention, embeddings and head 8, the rest 4), "
        "a mode of MLX, or a recipe; source: an ONNX model's own 8-bit weights.",
        metavar=How,
        rich_help_panel=_QUANTIZE,
    ),
]
GroupSize = Annotated[
    int | None,
    typer.Option(
        help="Weights that share a scale: 32, 64 (default) or 128.", rich_help_panel=_QUANTIZE
    ),
]
Include = Annotated[
    list[str] | None,
    typer.Option(help="Quantize these layers only (glob).", rich_help_panel=_QUANTIZE),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(help="Leave these layers as they are (glob).", rich_help_panel=_QUANTIZE),
]
Embeddings = Annotated[
    bool,
    typer.Option(
        "--embeddings/--no-embeddings", help="Quantize embeddings.", rich_help_panel=_QUANTIZE
    ),
]
Head = Annotated[
    bool,
    typer.Option(
        "--head/--no-head", help="Quantize layers that give outputs.", rich_help_panel=_QUANTIZE
    ),
]
Limit = Annotated[
    float | None,
    typer.Option(
        help="Largest error of an output by quantization, as a share of its norm (default: by "
        "bits; 0.05 at 8, 0.5 at 4).",
        rich_help_panel=_QUANTIZE,
    ),
]
Calibration = Annotated[
    Path | None,
    typer.Option(
        help="auto: a .npz or .safetensors of inputs to measure at (default: the recorded ones).",
        rich_help_panel=_QUANTIZE,
    ),
]
BudgetMb = Annotated[
    float | None,
    typer.Option(help="auto: megabytes of all weights.", rich_help_panel=_QUANTIZE),
]
BitsPerWeight = Annotated[
    float | None,
    typer.Option(
        help="auto: bits a weight of the quantized layers, scales included.",
        rich_help_panel=_QUANTIZE,
    ),
]


def agent_of(url: str | None, model: str, tries: int, dry_run: bool) -> Any:
    """The agent that the options name, if any."""
    from pytorch_to_mlx.custom.agent.chat import Agent
    from pytorch_to_mlx.errors import InputError

    if url is None:
        if dry_run:
            raise InputError("--agent-dry-run needs --agent URL")
        return None
    return Agent(url, model, tries, dry_run)


def show_version(value: bool) -> None:
    """Prints the version and ends."""
    if value:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"pytorch_to_mlx {version('pytorch-to-mlx')}")
        except PackageNotFoundError:
            typer.echo("pytorch_to_mlx (from a source tree)")
        raise typer.Exit
