"""What README and docs claim: their links, the listing they show, the code they tell to run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(read(page)) if not (page.parent / link).exists()]
    assert not missing


def test_the_quick_start_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    code = PYTHON.findall(read(ROOT / "README.md"))[0]
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert tuple(names["y"].shape) == (5, 4)  # type: ignore[attr-defined]
    assert (tmp_path / "mlp_mlx" / "report.html").is_file()


def test_the_listing_in_the_readme_is_the_committed_one() -> None:
    shown = PYTHON.findall(read(ROOT / "README.md"))[1]
    listing = read(ROOT / "tests" / "golden" / "listings" / "llama.py")
    for part in re.split(r"\n\n\n", shown.strip()):
        assert part in listing, "the golden listing has changed: copy the classes to the README"


def test_every_op_that_lowers_is_in_the_coverage_page() -> None:
    from pytorch_to_mlx.lower.aten import load_families

    text = read(ROOT / "docs" / "coverage.md")
    missing = [name for name in load_families().names() if f"`{name}`" not in text]
    assert not missing, "run `make coverage`"


def test_the_coverage_page_has_the_figures_of_the_records() -> None:
    from pytorch_to_mlx.cli.coverage import coverage, figures

    text = read(ROOT / "docs" / "coverage.md")
    rows = figures(coverage())
    assert len(rows) == 3
    assert not [count for _, count, _ in rows if count not in text], "run `make coverage`"


def test_without_records_only_the_registry_counts(tmp_path: Path) -> None:
    from pytorch_to_mlx.cli.coverage import coverage, figures

    assert [what for what, _, _ in figures(coverage(tmp_path))] == [
        "forward ops of core ATen that lower directly"
    ]


def test_the_make_targets_that_are_told_exist() -> None:
    told = set(re.findall(r"`make (\w+)`|^make (\w+)$", read(ROOT / "README.md"), re.MULTILINE))
    rules = set(re.findall(r"^(\w+):", read(ROOT / "Makefile"), re.MULTILINE))
    assert {"demo", "test"} <= {name for pair in told for name in pair if name} <= rules
