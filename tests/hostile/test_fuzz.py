"""Thousands of mutated models through the importers: each is converted, or refused as it should."""

from __future__ import annotations

import os
import random
import resource
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")

from tests.hostile import fuzz, script_cases, stages  # noqa: E402
from tests.hostile.mutate import damaged, mutate  # noqa: E402

#: How many cases; ``make fuzz`` asks for more.
MODELS = int(os.environ.get("P2M_FUZZ_MODELS", "2000"))
SCRIPTS = int(os.environ.get("P2M_FUZZ_SCRIPTS", "120"))
#: Of the runs guided by coverage, which are the same every time.
GUIDED = {"onnx": 2500, "torchscript": 300}
MEMORY = 8 << 30

_PATIENT = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}


@pytest.fixture(scope="module")
def models() -> list[Any]:
    """Small models of onnx's conformance suite, one of every op and more, and one with weights."""
    from onnx.backend.test.case.node import collect_testcases

    from tests.hostile.onnx_cases import good

    found = [c.model for c in collect_testcases(None) if c.model is not None]  # type: ignore[arg-type]
    return [good(), *(m for m in found if m.ByteSize() < 4096)]


@pytest.mark.filterwarnings("ignore")
def test_mutated_models(models: list[Any], record_property: Any) -> None:
    """Field by field after parsing, so that most get past it; bytes for the rest."""
    tally = stages.Tally(*stages.ONNX)

    @settings(max_examples=MODELS, derandomize=True, **_PATIENT)  # type: ignore[arg-type]
    @given(st.integers(0, 2**64 - 1))
    def run(seed: int) -> None:
        draw = random.Random(seed)
        model = onnx.ModelProto()
        model.CopyFrom(draw.choice(models))
        for _ in range(draw.choice((1, 1, 2, 4))):
            mutate(model, draw, [draw.choice(models)])
        data = model.SerializeToString()
        data = damaged(data, draw) if draw.random() < 0.1 else data
        tally.case(lambda reached: stages.onnx_steps(data, reached))

    with stages.memory(MEMORY):
        run()
    record_property("lowered", f"ONNX: {tally}")
    tally.assert_half("parsed")
    assert tally.reached["emitted"] > tally.cases / 10, str(tally)


def test_mutated_scripts(record_property: Any) -> None:
    """Each in a process of its own, as in a conversion: native code may end it, Python may not."""
    archives = script_cases.seeds()
    tally = stages.Tally(*stages.SCRIPT)
    crashes = 0
    for seed in range(SCRIPTS):
        draw = random.Random(seed)
        data = script_cases.mutated(draw.choice(archives), draw)
        reached, status, said = _forked(data)
        tally.cases += 1
        tally.reached.update(reached)
        crashes += status < 0
        assert status <= 0, f"seed {seed}: {said}"
        assert status == 0 or "rebuilt" not in reached, f"seed {seed} crashed past loading"
    record_property("lowered", f"TorchScript: {tally}; torch crashed on {crashes}")
    tally.assert_half("read")


def _forked(data: bytes) -> tuple[list[str], int, str]:
    """Stages that an archive reached, how its process ended, and what it said."""
    import traceback

    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        status = 0
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
            tally = stages.Tally(*stages.SCRIPT)

            def tell(stage: str) -> None:
                os.write(writer, f"{stage}\n".encode())

            tally.case(lambda _: stages.script_steps(data, tell, whole=False))
        except BaseException:  # noqa: BLE001 - told to the parent
            os.write(writer, ("!" + traceback.format_exc()[-3000:].replace("\n", " | ")).encode())
            status = 1
        finally:
            os._exit(status)
    os.close(writer)
    said = b""
    while block := os.read(reader, 1 << 16):
        said += block
    os.close(reader)
    _, status = os.waitpid(child, 0)
    stages_, _, text = said.decode(errors="replace").partition("!")
    return stages_.split(), os.waitstatus_to_exitcode(status), text


def test_files_kept_of_crashes_are_converted_or_refused(tmp_path: Path) -> None:
    """What the fuzzer does with a file that ended its process; an end of another kind is told."""
    parts = script_cases.members(script_cases.seeds()[0])
    good, bad = tmp_path / "crash_1", tmp_path / "crash_2"
    good.write_bytes(script_cases.packed(parts))
    code = {n: b"(" * 100_000 for n in parts if n.endswith(".py")}
    bad.write_bytes(script_cases.packed({**parts, **code}))
    assert fuzz.replayed("torchscript", [good, bad]) == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fuzz, "ENDS", (2,))
        assert fuzz.replayed("torchscript", [good, bad]) == [f"{good}: the conversion ended with 0"]


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_guided_by_coverage(target: str, tmp_path: Path, record_property: Any) -> None:
    """A short run, the same every time, of what ``make fuzz`` runs for long."""
    if not sys.platform.startswith("linux"):
        pytest.skip("atheris has wheels for Linux only")
    pytest.importorskip("atheris")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("P2M_FUZZ_SEEDS", "40")
        figures, found, crashes = fuzz.run(target, tmp_path, 120, GUIDED[target])
    record_property("lowered", f"{target}, guided: {figures}, native crashes: {crashes}")
    assert not found, found
    first = {"onnx": "parsed", "torchscript": "read"}[target]
    assert figures.get("cases", 0) >= 20
    assert 2 * figures[first] >= figures["cases"]
