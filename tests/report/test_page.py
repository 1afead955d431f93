"""report.html: self-contained, escaped, and saying what the figures say."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pytorch_to_mlx.report.build import plain
from pytorch_to_mlx.report.page import render_page
from tests.report.fixture import failed_report, full_report

XSS = "</script><img src=x onerror=alert(1)><script>alert(2)</script>\"'><b>"
VOID = {"meta", "img", "link", "br", "hr", "input"}


class Outline(HTMLParser):
    """All tags with attributes; fails on tags that do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def page(report: dict[str, Any]) -> str:
    plots = report.pop("plots", [])
    return render_page(plain(report), plots)


def outline(html: str) -> Outline:
    parser = Outline()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.S))


def poisoned(value: Any) -> Any:
    """Every string of a report, keys too, with an attack appended (enumerations aside)."""
    if isinstance(value, dict):
        fixed = {"verdict", "kind", "against"}
        return {k: v if k in fixed else poisoned(v) for k, v in value.items()}
    if isinstance(value, list):
        return [poisoned(item) for item in value]
    return value + XSS if isinstance(value, str) else value


@pytest.mark.parametrize("report", [full_report(), failed_report(), {}])
def test_the_page_is_well_formed_and_needs_no_network(report: dict[str, Any]) -> None:
    html = page(report)
    found = outline(html)
    assert "http://" not in html
    assert "https://" not in html
    for tag, attributes in found.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base"}
        for name in ("src", "href"):
            address = attributes.get(name) or "#"
            assert address.startswith(("#", "data:image/png;base64,"))
    assert found.count("script") == 1
    assert "url(" not in html


def test_foreign_names_are_text_never_markup() -> None:
    clean, attacked = full_report(), poisoned(full_report())
    attacked["weights"]["renames"] = {XSS: XSS}
    attacked["dims"] = {XSS: attacked["dims"]["C"]}
    attacked["versions"] = {XSS: XSS}
    found = outline(page(attacked))
    assert found.count("script") == 1
    assert found.count("img") == outline(page(clean)).count("img")
    assert not any("onerror" in attributes for _, attributes in found.tags)


def test_the_script_is_the_one_the_policy_names() -> None:
    html = page(full_report())
    policy = re.search(r"script-src &#39;(sha256-[^&]+)&#39;|script-src '(sha256-[^']+)'", html)
    assert policy is not None
    assert "default-src 'none'" in html


def test_a_proven_report_gives_the_numbers_behind_it() -> None:
    words = text_of(page(full_report()))
    assert "Proven" in words
    assert (
        "14 outputs in 7 cases, in float32 none further off than 5e-7 of its scale "
        "(1e-4 is allowed). In bfloat16 its error against float32 is 1.1 times that of torch's "
        "own run (2 times is allowed)."
    ) in words.replace("&#39;", "'")
    assert "2 of 9 comparisons left out: 300 s budget (edge: zeros, edge: tiny values)" in words
    assert "the original refuses T=1" in words
    assert "7/7 cases within tolerance" in words
    assert "48/48 perturbed weights followed" in words
    assert "1.56× mlx compiled against torch eager" in words
    assert "variance is read elsewhere" in words


def test_a_failed_report_says_where_and_puts_failures_first() -> None:
    html = page(failed_report())
    words = text_of(html)
    assert "Failed" in words
    assert "Proven" not in words
    assert "5 of 14 outputs in 7 cases are not what the source computes" in words
    assert "Where it goes wrong" in words
    assert "repro_gelu.py" in words
    body = html[html.index("<h3>Cases</h3>") :]
    rows = re.findall(r'<tr class="(failed)?"', body)
    assert rows[:5] == ["failed"] * 5
    assert "failed" not in rows[5:]


def test_no_validation_is_said_plainly() -> None:
    words = text_of(page({}))
    assert "Not validated" in words
    assert "Proven" not in words


def test_a_failed_verdict_without_comparisons() -> None:
    words = text_of(page({"validation": {"verdict": "failed", "cases": []}}))
    assert "No output was compared" in words


def test_modules_are_folded_in_a_tree_with_counts() -> None:
    found = outline(page(full_report()))
    paths = [a.get("title") for _, a in found.tags]
    assert "encoder.layers.5.self_attn.q_proj" in paths
    assert "19.8 M" in text_of(page(full_report()))


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_browser_runs_the_page(tmp_path: Path) -> None:
    """The policy lets the page's script run (it makes sort buttons), and nothing else."""
    (tmp_path / "report.html").write_text(page(poisoned(full_report())))
    run = subprocess.run(
        [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom", (tmp_path / "report.html").as_uri(),
        ],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert '<th><button type="button">Case</button></th>' in run.stdout
    assert run.stdout.count("<script>") == 1
    assert "Refused to" not in run.stderr
