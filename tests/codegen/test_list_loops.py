"""Runs whose results cross them become loops with lists, and compute what they computed."""

from __future__ import annotations

import ast
import textwrap
from types import SimpleNamespace
from typing import Any

import pytest

from pytorch_to_mlx.codegen.list_loops import Folder
from pytorch_to_mlx.codegen.loops import fold_loops


class Layers:
    """A list whose elements note what they were called with."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return [self[k] for k in range(key.start or 0, key.stop)]
        return lambda *args: ((self.name, key, args), f"{self.name}{key}")


def folded(source: str, arguments: list[str], wanted: dict[str, str] | None = None) -> str:
    """The folded source, which is run beside the given one on arguments told apart by name."""
    body = ast.parse(textwrap.dedent(source)).body
    before = ast.unparse(ast.Module(body, []))
    new = Folder(body, arguments, dict(wanted or {})).fold()
    after = ast.unparse(ast.fix_missing_locations(ast.Module(new, [])))
    assert run(after, arguments) == run(before, arguments), after
    return after


def run(source: str, arguments: list[str]) -> Any:
    scope: dict[str, Any] = {n: n for n in arguments}
    scope["self"] = SimpleNamespace(**{n: Layers(n) for n in ("a", "b", "c")})
    scope["f"] = lambda *args: ("f", args)
    function = f"def model(self, f, {', '.join(arguments)}):\n{textwrap.indent(source, '    ')}"
    exec(function, scope)
    return scope["model"](scope["self"], scope["f"], *arguments)


def test_results_taken_in_reverse_are_popped() -> None:
    text = folded(
        """
        _v1 = self.a[0](_v0)
        _v2 = self.a[1](_v1)
        _v3 = self.b[0](_v2, _v1)
        _v4 = self.b[1](_v3, _v0)
        return _v4
        """,
        ["_v0"],
    )
    assert text.count(".pop()") == 1
    assert text.count("for ") == 2
    assert "_v1" not in text


def test_several_results_of_a_block() -> None:
    """As in the U-Nets of diffusion models: two results a block, and one more before."""
    text = folded(
        """
        _v1 = f(_v0)
        _v2, _v3 = self.a[0](_v1)
        _v4, _v5 = self.a[1](_v3)
        _v6, _v7 = self.a[2](_v5)
        _v8 = f(_v7)
        _v9 = self.b[0](_v8, _v7, _v6)
        _v10 = self.b[1](_v9, _v5, _v4)
        _v11 = self.b[2](_v10, _v3, _v2)
        _v12 = f(_v1, _v11)
        return f(_v12, _v1)
        """,
        ["_v0"],
    )
    assert text.count(".pop()") == 2
    assert "+= [" in text
    assert text.count("for ") == 2


def test_one_is_popped_before_the_loop() -> None:
    text = folded(
        """
        _v1 = f(_v0)
        _v2 = self.a[0](_v1)
        _v3 = self.a[1](_v2)
        _v4 = self.c[0](_v3)
        _v5 = f(_v4, _v3)
        _v6 = self.b[0](_v5, _v2)
        _v7 = self.b[1](_v6, _v1)
        return _v7
        """,
        ["_v0"],
    )
    assert text.count("for ") == 2


def test_a_last_step_inside_an_expression_belongs_to_the_loop() -> None:
    text = folded(
        """
        _v1 = self.a[0](_v0)
        _v2 = f(_v1)
        _v3 = self.a[1](_v2)
        _v4 = f(_v3)
        _v5 = self.a[2](_v4)
        _v6 = self.c[0](f(_v5))
        _v7 = self.b[0](_v6, _v5)
        _v8 = self.b[1](_v7, _v3)
        _v9 = self.b[2](_v8, _v1)
        return _v9
        """,
        ["_v0"],
    )
    assert "self.a[0:3]" in text
    assert "self.b[0:3]" in text


def test_independent_results_are_a_comprehension() -> None:
    text = folded(
        """
        _v1 = self.a[0](_v0)
        _v2 = self.a[1](_v0)
        _v3 = self.a[2](_v0)
        return f([_v1, _v2, _v3])
        """,
        ["_v0"],
    )
    assert len(text.splitlines()) == 2
    assert "[_v1" not in text


def test_values_from_elsewhere_are_looped_over() -> None:
    source = """
        _v4 = self.a[0](_v1)
        _v5 = self.a[1](_v2)
        _v6 = self.a[2](_v3)
        return f(_v4, _v5[0], _v6)
        """
    text = folded(source, ["_v1", "_v2", "_v3"], {"_v4": "q", "_v5": "k", "_v6": "v"})
    assert "zip(self.a[0:3], (_v1, _v2, _v3), strict=True)" in text
    assert "_v4, _v5, _v6 = [" in text
    assert "[1]" in folded(source, ["_v1", "_v2", "_v3"])


def test_every_state_of_a_stack_is_kept() -> None:
    text = folded(
        """
        _v1 = self.a[0](_v0)
        _v2 = f(_v0, _v1)
        _v3 = self.a[1](_v2)
        _v4 = f(_v2, _v3)
        _v5 = self.a[2](_v4)
        _v6 = f(_v4, _v5)
        return (_v6, (_v0, _v2, _v4, _v6))
        """,
        ["_v0"],
    )
    assert "(_v0, *" in text
    assert text.count("for ") == 1


@pytest.mark.parametrize(
    "taken",
    [
        ("_v1", "_v2", "_v3"),  # in the order in which they were made
        ("_v2", "_v3", "_v1"),
        ("_v3", "_v1", "_v0"),
        ("_v2", "_v1", "_v0"),
    ],
)
def test_other_orders(taken: tuple[str, ...]) -> None:
    folded(
        f"""
        _v1 = self.a[0](_v0)
        _v2 = self.a[1](_v1)
        _v3 = self.a[2](_v2)
        _v4 = self.b[0](_v3, {taken[0]})
        _v5 = self.b[1](_v4, {taken[1]})
        _v6 = self.b[2](_v5, {taken[2]})
        return f(_v6, _v2, _v3)
        """,
        ["_v0"],
    )


@pytest.mark.parametrize(
    "blocks",
    [
        ("f(_v0)", "f(_v1)", "f(_v2, _v0)"),  # reads what two blocks before made
        ("f(_v0, _v0)", "f(_v1, _v1)", "f(_v2, _v1)"),
        ("f(_v0, 1)", "f(_v1, 2)", "f(_v2, 3)"),  # numbers of no list
    ],
)
def test_what_is_no_loop_stays(blocks: tuple[str, ...]) -> None:
    lines = [f"_v{k + 1} = self.a[{k}]({b})" for k, b in enumerate(blocks)]
    source = "\n".join([*lines, "return f(_v1, _v2, _v3)"])
    assert "for " not in folded(source, ["_v0"]) or "[0:2]" in folded(source, ["_v0"])


def test_an_incoming_value_that_is_needed_later_keeps_its_name() -> None:
    text = folded(
        """
        _v1 = self.a[0](_v0)
        _v2 = self.a[1](_v1)
        return f(_v0, _v1, _v2)
        """,
        ["_v0"],
    )
    assert "for " in text


def looped(source: str) -> str:
    """What lists with final names become, run beside the given source."""
    body = ast.parse(textwrap.dedent(source)).body
    before = ast.unparse(ast.Module(body, []))
    after = ast.unparse(ast.Module(fold_loops(body), []))
    assert run(after, ["x", "h"]) == run(before, ["x", "h"]), after
    return after


def test_what_comes_in_may_be_read_by_every_iteration_too() -> None:
    text = looped(
        """
        h = self.a[0](x, x)
        h = self.b[0](h, x)
        h = self.a[1](h, x)
        h = self.b[1](h, x)
        return h
        """
    )
    assert text.startswith("h = x\nfor ")


def test_a_name_that_an_iteration_itself_assigns_is_not_what_comes_in() -> None:
    text = looped(
        """
        x = self.a[0](h)
        h = f(x)
        x = self.a[1](h)
        h = f(h)
        return h, x
        """
    )
    assert "for " not in text
