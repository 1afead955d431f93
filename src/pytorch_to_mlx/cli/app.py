"""The commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pytorch_to_mlx.cli import options as opt
from pytorch_to_mlx.cli.session import FAILED, Session, session
from pytorch_to_mlx.validate.budget import SECONDS

app = typer.Typer(
    help="Converts PyTorch models into readable mlx.nn packages, proven against the original.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=opt.show_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Exit codes: 0 done (and proven, where asked), 1 parity failed, 2 bad input or unsupported."""


@app.command()
def convert(
    source: opt.Input,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")],
    model: opt.Model = None,
    method: opt.Method = None,
    trust_code: opt.TrustCode = False,
    dtype: Annotated[
        opt.Dtype | None,
        typer.Option(help="Dtype of the weights (default: the checkpoint's)."),
    ] = None,
    fold_batch_norm: opt.FoldBatchNorm = True,
    quantize: opt.Quantize = None,
    group_size: opt.GroupSize = None,
    include: opt.Include = None,
    exclude: opt.Exclude = None,
    embeddings: opt.Embeddings = True,
    head: opt.Head = True,
    limit: opt.Limit = None,
    calibration: opt.Calibration = None,
    budget_mb: opt.BudgetMb = None,
    bits_per_weight: opt.BitsPerWeight = None,
    ops: opt.Ops = None,
    agent: opt.Agent = None,
    agent_model: opt.AgentModel = "default",
    agent_tries: opt.AgentTries = 3,
    agent_dry_run: opt.AgentDryRun = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing package.")
    ] = False,
    args: opt.Args = None,
    shapes: opt.Shapes = None,
    dynamic: opt.Dynamic = None,
    seed: opt.Seed = 0,
    validate: Annotated[
        bool,
        typer.Option("--validate", help="Prove it against the original.", rich_help_panel="Proof"),
    ] = False,
    benchmark: Annotated[
        bool,
        typer.Option("--benchmark", help="Time it against the original.", rich_help_panel="Proof"),
    ] = False,
    compile_torch: opt.Compile = False,
    tolerance: opt.Tolerance = None,
    budget: opt.Budget = SECONDS,
    as_json: opt.Json = False,
    quiet: opt.Quietly = False,
    debug: opt.Debug = False,
) -> None:
    """Convert a model into a folder of readable MLX code and weights."""
    with session(as_json=as_json, quiet=quiet, debug=debug) as run:
        import pytorch_to_mlx as p2m
        from pytorch_to_mlx.cli.inputs import dynamic_option, example_inputs
        from pytorch_to_mlx.cli.quantization import chosen

        call_args, call_kwargs = example_inputs(args, shapes, seed, run, source)
        converted = p2m.convert(
            source,
            call_args,
            call_kwargs or None,
            **dynamic_option(dynamic),
            dtype=dtype.value if dtype else None,
            output=output,
            overwrite=overwrite,
            trust_code=trust_code,
            model=model,
            method=method,
            fold_batch_norm=fold_batch_norm,
            quantize=quantize,
            quantize_options=chosen(
                group_size=group_size,
                include=include,
                exclude=exclude,
                embeddings=embeddings,
                head=head,
                limit=limit,
                calibration=calibration,
                budget_mb=budget_mb,
                bits_per_weight=bits_per_weight,
            ),
            ops=ops,
            agent=opt.agent_of(agent, agent_model, agent_tries, agent_dry_run),
            progress=run.progress(),
        )
        proof = None
        if validate:
            proof = p2m.validate(
                converted, tolerance=tolerance, seed=seed, budget=budget, progress=run.progress()
            )
        timings = None
        if benchmark:
            timings = p2m.benchmark(converted, compile=compile_torch, progress=run.progress())
        _finish_conversion(run, output, converted, proof, timings)


def _finish_conversion(
    run: Session, output: Path, converted: Any, proof: Any, timings: Any
) -> None:
    """Prints the result of a conversion; exits with 1 if parity failed."""
    passed = None if proof is None else bool(proof.passed)
    report = converted.report
    validation = None if proof is None else proof.to_dict()
    _record(converted, validation=validation, benchmark=timings)
    page = output / "report.html"
    run.warn(report.get("warnings", []))
    run.emit(
        {
            "output": output,
            "verdict": _verdict(passed),
            "validation": validation,
            "benchmark": timings,
            "warnings": report.get("warnings", []),
            "report": page if page.exists() else output / "report.json",
            "exit_code": FAILED if passed is False else 0,
        }
    )
    if not run.silent:
        from pytorch_to_mlx.cli.show import summary

        rows = [("Package", str(output))]
        if page.exists():
            rows.append(("Report", str(page)))
        summary(run.out, "", validation=validation, passed=passed, benchmark=timings, rows=rows)
        if "quantization" in report:
            from pytorch_to_mlx.cli.quantization import show

            show(run.out, report["quantization"])
    _exit_on_failure(run, passed, proof)


def _record(converted: Any, **sections: Any) -> None:
    """Puts proof and timings into the package's own report, unless the API has done so."""
    new = {
        name: section
        for name, section in sections.items()
        if section is not None and converted.report.get(name) != section
    }
    if new:
        converted.report.update(new)
        converted.write_report()


def _exit_on_failure(run: Session, passed: bool | None, proof: Any) -> None:
    if passed is False:
        if not run.as_json:
            run.err.print(str(proof.summary()), markup=False, highlight=False)
        raise typer.Exit(FAILED)


def _verdict(passed: bool | None) -> str:
    return "not validated" if passed is None else "proven" if passed else "failed"


@app.command()
def validate(
    package: opt.Package,
    source: opt.Original = None,
    model: opt.Model = None,
    method: opt.Method = None,
    trust_code: opt.TrustCode = False,
    args: opt.Args = None,
    shapes: opt.Shapes = None,
    seed: opt.Seed = 0,
    tolerance: opt.Tolerance = None,
    budget: opt.Budget = SECONDS,
    as_json: opt.Json = False,
    quiet: opt.Quietly = False,
    debug: opt.Debug = False,
) -> None:
    """Prove a converted package against the original."""
    with session(as_json=as_json, quiet=quiet, debug=debug) as run:
        import pytorch_to_mlx as p2m
        from pytorch_to_mlx.cli.inputs import example_inputs, open_original

        call_args, call_kwargs = example_inputs(args, shapes, seed, run, source)
        original = None
        if source is not None:
            original, call_args, call_kwargs = open_original(
                source, call_args, call_kwargs, trust_code=trust_code, model=model, method=method
            )
        proof = p2m.validate(
            package,
            original,
            args=call_args,
            kwargs=call_kwargs or None,
            tolerance=tolerance,
            seed=seed,
            budget=budget,
            progress=run.progress(),
        )
        facts = proof.to_dict()
        passed = bool(proof.passed)
        code = 0 if passed else FAILED
        run.emit({"verdict": _verdict(passed), "validation": facts, "exit_code": code})
        if not run.silent:
            from pytorch_to_mlx.cli.show import summary

            rows = [("Package", str(package))]
            summary(run.out, "", validation=facts, passed=passed, rows=rows)
        _exit_on_failure(run, passed, proof)


@app.command()
def benchmark(
    package: opt.Package,
    source: opt.Original = None,
    model: opt.Model = None,
    method: opt.Method = None,
    trust_code: opt.TrustCode = False,
    compile_torch: opt.Compile = False,
    as_json: opt.Json = False,
    quiet: opt.Quietly = False,
    debug: opt.Debug = False,
) -> None:
    """Time a converted package, and the original beside it when --input names it."""
    with session(as_json=as_json, quiet=quiet, debug=debug) as run:
        import pytorch_to_mlx as p2m
        from pytorch_to_mlx.cli.inputs import open_original

        original = None
        if source is not None:
            original, _, _ = open_original(
                source, (), {}, trust_code=trust_code, model=model, method=method
            )
        timings = p2m.benchmark(package, original, compile=compile_torch, progress=run.progress())
        run.emit({"benchmark": timings, "exit_code": 0})
        if not run.silent:
            from pytorch_to_mlx.cli.show import speed

            for line in speed(timings):
                run.out.print(line, highlight=False, markup=False)
            for note in timings.get("notes", ()):
                run.note(note)


@app.command()
def analyze(
    source: opt.Input,
    model: opt.Model = None,
    method: opt.Method = None,
    trust_code: opt.TrustCode = False,
    args: opt.Args = None,
    shapes: opt.Shapes = None,
    dynamic: opt.Dynamic = None,
    seed: opt.Seed = 0,
    fold_batch_norm: opt.FoldBatchNorm = True,
    ops: opt.Ops = None,
    as_json: opt.Json = False,
    quiet: opt.Quietly = False,
    debug: opt.Debug = False,
) -> None:
    """Say what a conversion would do: ops, parameters, memory, fusions; writes nothing."""
    with session(as_json=as_json, quiet=quiet, debug=debug) as run:
        import pytorch_to_mlx as p2m
        from pytorch_to_mlx.cli.inputs import dynamic_option, example_inputs

        call_args, call_kwargs = example_inputs(args, shapes, seed, run, source)
        facts = p2m.analyze(
            source,
            call_args,
            call_kwargs or None,
            **dynamic_option(dynamic),
            trust_code=trust_code,
            model=model,
            method=method,
            fold_batch_norm=fold_batch_norm,
            ops=ops,
            progress=run.progress(),
        )
        code = 2 if facts.get("unsupported") else 0
        run.emit({**facts, "exit_code": code})
        if not run.silent:
            from pytorch_to_mlx.cli.analysis import show_analysis

            run.warn(facts.get("warnings", []))
            show_analysis(run.out, facts)
        if code:
            raise typer.Exit(code)


@app.command()
def coverage(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a page for the documentation.")
    ] = False,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """List the source ops that convert, and those of core ATen that do not."""
    with session(as_json=as_json, debug=debug) as run:
        from pytorch_to_mlx.cli import coverage as table

        found = table.coverage()
        run.emit(found)
        if markdown:
            typer.echo(table.as_markdown(found))
        elif not as_json:
            table.show_coverage(run.out, found)


@app.command()
def quantize(
    package: Annotated[
        Path,
        typer.Option("--input", "-i", help="A folder that `convert` wrote.", metavar="FOLDER"),
    ],
    how: Annotated[
        str,
        typer.Option(
            "--quantize",
            "--recipe",
            help="8 or 4 bits, mixed (attention, embeddings and head 8, the rest 4), a mode of "
            "MLX, or a recipe.",
            metavar=opt.How,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The folder to write (default: with --overwrite, the package itself).",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing package.")
    ] = False,
    group_size: opt.GroupSize = None,
    include: opt.Include = None,
    exclude: opt.Exclude = None,
    embeddings: opt.Embeddings = True,
    head: opt.Head = True,
    limit: opt.Limit = None,
    calibration: opt.Calibration = None,
    budget_mb: opt.BudgetMb = None,
    bits_per_weight: opt.BitsPerWeight = None,
    as_json: opt.Json = False,
    quiet: opt.Quietly = False,
    debug: opt.Debug = False,
) -> None:
    """Quantize a converted package into a new one; `validate` then proves it."""
    with session(as_json=as_json, quiet=quiet, debug=debug) as run:
        import pytorch_to_mlx as p2m
        from pytorch_to_mlx.cli.quantization import chosen, show, target

        made = p2m.quantize(
            package,
            how,
            output=target(package, output, overwrite=overwrite),
            overwrite=overwrite,
            progress=run.progress(),
            **chosen(
                group_size=group_size,
                include=include,
                exclude=exclude,
                embeddings=embeddings,
                head=head,
                limit=limit,
                calibration=calibration,
                budget_mb=budget_mb,
                bits_per_weight=bits_per_weight,
            ),
        )
        proof = p2m.validate(made)
        section = made.report["quantization"]
        warnings = [w for w in made.report["warnings"] if w.startswith("not quantized")]
        run.warn(warnings)
        run.emit(
            {
                "output": made.path,
                "verdict": _verdict(bool(proof.passed)),
                "quantization": section,
                "validation": proof.to_dict(),
                "warnings": warnings,
                "exit_code": 0 if proof.passed else FAILED,
            }
        )
        if not run.silent:
            show(run.out, section)
            run.out.print(f"Package  {made.path}", highlight=False, markup=False)
        _exit_on_failure(run, bool(proof.passed), proof)
