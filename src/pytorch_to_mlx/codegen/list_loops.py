"""Folds runs whose results cross them into loops: what each iteration makes or takes is in a list.

Given (an encoder whose results a decoder takes, the last one first)::

    h = self.downs[0](x)
    y = self.downs[1](h)
    y = self.ups[0](y, h)
    y = self.ups[1](y, x)

Result::

    skips = []
    for down in self.downs:
        skips.append(x)
        x = down(x)
    for up in self.ups:
        x = up(x, skips.pop())

Results that are taken in no such order stay in a list too (``outputs[1]``, ``*outputs``), and
values that no run makes are looped over beside the layers.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Sequence

from pytorch_to_mlx.codegen.list_names import singular_of
from pytorch_to_mlx.codegen.rewriting import (
    Rewriter,
    appended,
    assigned,
    nested,
    popped_from,
    store,
    unpack_items,
    whole_list,
    zipped,
)
from pytorch_to_mlx.codegen.runs import Run, gather_paths, index_of, list_items, names_in, stored
from pytorch_to_mlx.codegen.stacks import Plan, Stack


class Folder(Plan):
    """Writes a body with its runs as loops."""

    def fold(self) -> list[ast.stmt]:
        """The body with every run that needs lists as a loop; other runs stay as they are."""
        out = self._pushed(self.arguments)
        at = 0
        starts = {self.runs[i].start: i for i in self.active}
        while at < len(self.body):
            if at in starts:
                out += self._before_run(starts[at])
                out += self._loop(starts[at])
                at = self.runs[starts[at]].end
            else:
                out += self._statement(at)
                at += 1
        for (i, _), name in self.lists.items():
            items = [names[0] for names in self.runs[i].made]
            if self._comprehends(i) and len({self.wanted.get(n) for n in items}) == len(items):
                unpack_items(out, name, items)
        return [ast.fix_missing_locations(s) for s in out]

    def _variable(self, i: int, d: int) -> str:
        """The name that a loop assigns for an ordinal: where it is free, that of what comes in."""
        run = self.runs[i]
        own = next((names[d] for names in run.made if names[d] != "_"), "_")
        incoming = run.carried.get(d)
        if incoming is None:
            return own
        known = self.becomes.get(incoming, ast.Name(incoming, ast.Load()))
        handled = self._handled()
        first = self._rows(i)[0]
        carried = {id(first[j]) for j, ordinal in run.carry_places.items() if ordinal == d}
        again = [
            n
            for n in self._names(run.start)
            if n.id == incoming and id(n) not in handled and id(n) not in carried
        ]
        if again or not isinstance(known, ast.Name):
            return own
        return known.id

    def _statement(self, at: int) -> list[ast.stmt]:
        s = self.body[at]
        return [self._rewritten(s, {}), *self._pushed(stored(s))]

    def _pushed(self, names: Sequence[str]) -> list[ast.stmt]:
        """Statements that push those of these values that stacks get one by one."""
        out: list[ast.stmt] = []
        for n in names:
            for stack in self.stacks:
                value = ast.Name(n, ast.Load())
                if n in stack.single and self._starts_with(stack, n):
                    out.append(assigned(stack.name, ast.List([value], ast.Load())))
                elif n in stack.single:
                    out.append(appended(stack.name, [value]))
        return out

    def _starts_with(self, stack: Stack, n: str) -> bool:
        """Whether a value is the first that is pushed."""
        runs = [self.runs[r].start for r in (*stack.made, *stack.incoming)]
        return self.place[n] < min(runs, default=len(self.body)) and all(
            self.order[n] <= self.order[m] for m in stack.single
        )

    def _before_run(self, i: int) -> list[ast.stmt]:
        """Empty lists, and variables for what comes in and is needed afterwards."""
        run = self.runs[i]
        out: list[ast.stmt] = []
        for stack in self.stacks:
            producers = (*stack.made, *stack.incoming)
            first = min((self.runs[r].start for r in producers), default=-1)
            earlier = any(self.place[n] < first for n in stack.single)
            if first == run.start and not earlier:
                out.append(assigned(stack.name, ast.List([], ast.Load())))
        for d in range(len(run.made[0])):
            if (i, d) in self.lists and not self._comprehends(i):
                out.append(assigned(self.lists[i, d], ast.List([], ast.Load())))
        self.variables = {d: self._variable(i, d) for d in range(len(run.made[0]))}
        for d, incoming in run.carried.items():
            value = copy.deepcopy(self.becomes.get(incoming, ast.Name(incoming, ast.Load())))
            if not (isinstance(value, ast.Name) and value.id == self.variables[d]):
                out.append(assigned(self.variables[d], value))
        return out

    def _comprehends(self, i: int) -> bool:
        """Whether a run is ``outputs = [layer(x) for layer in self.layers]``."""
        run = self.runs[i]
        pushes = any(i in s.made or i in s.incoming for s in self.stacks)
        consumes = any(s.consumer == i for s in self.stacks)
        listed = run.period == 1 and len(run.made[0]) == 1 and (i, 0) in self.lists
        return listed and not (run.carried or pushes or consumes)

    def _loop(self, i: int) -> list[ast.stmt]:
        run = self.runs[i]
        items, sources = self._elements(i)
        blocks = [run.block(self.body, k) for k in range(run.count)]
        gather_paths(blocks[0], blocks[1:])
        replaced = self._replacements(i, items)
        body: list[ast.stmt] = []
        for stack in self.stacks:
            if i in stack.incoming:
                body.append(self._push(stack.name, sorted(stack.incoming[i])))
        ordinal = 0
        written: list[ast.stmt] = []
        for s in blocks[0]:
            names = stored(s)
            new = self._rewritten(s, replaced)
            store(new, [self.variables[ordinal + n] for n in range(len(names))])
            written.append(new)
            body.append(new)
            body += self._kept(i, range(ordinal, ordinal + len(names)))
            ordinal += len(names)
        for k, names in enumerate(run.made):
            for d, n in enumerate(names):
                self.becomes[n] = self._after(i, d, k)
        held = {n.id for s in body if not isinstance(s, ast.Assign) for n in names_in(s)}
        body = nested(body, held | {self.variables[d] for d in run.carried} | self._later(i))
        source, target = zipped(sources)
        if self._comprehends(i):
            value = written[0].value  # type: ignore[attr-defined]
            made = ast.ListComp(value, [ast.comprehension(target, source, [], 0)])
            return [assigned(self.lists[i, 0], made)]
        return [ast.For(target, source, body, [], lineno=0)]

    def _later(self, i: int) -> set[str]:
        """Variables of a run that are read after it."""
        run = self.runs[i]
        read = {n.id for n in self._names(run.end)}
        return {self.variables[d] for d, n in enumerate(run.made[-1]) if n in read}

    def _after(self, i: int, d: int, k: int) -> ast.expr:
        """What stands for a run's value after it: the last has a variable, others are items."""
        e: ast.expr = ast.Name(self.variables[d], ast.Load())
        last = k == self.runs[i].count - 1
        if (i, d) not in self.lists:
            return e  # of the last one; others are never read but from stacks
        if not last or self._comprehends(i):
            e = ast.Subscript(ast.Name(self.lists[i, d], ast.Load()), ast.Constant(k), ast.Load())
        e.__dict__["of"] = (self.lists[i, d], k, self.runs[i].count)
        return e

    def _kept(self, i: int, ordinals: range) -> list[ast.stmt]:
        """Statements that keep what was just made."""
        out: list[ast.stmt] = []
        for stack in self.stacks:
            pushed = [d for d in ordinals if d in stack.made.get(i, ())]
            if pushed:
                out.append(self._push(stack.name, pushed))
        for d in ordinals:
            if (i, d) in self.lists and not self._comprehends(i):
                out.append(self._push(self.lists[i, d], [d]))
        return out

    def _push(self, name: str, ordinals: Sequence[int]) -> ast.stmt:
        return appended(name, [ast.Name(self.variables[d], ast.Load()) for d in ordinals])

    def _elements(self, i: int) -> tuple[dict[str, str], list[tuple[str, ast.expr]]]:
        """Names of what a loop runs over, and the iterables: lists of layers, then of values."""
        run = self.runs[i]
        block = run.block(self.body, 0)
        found = [x for s in block for x in list_items(s) if index_of(x) == run.first_index]
        layers = list(dict.fromkeys(ast.unparse(x.value) for x in found))
        items: dict[str, str] = {}
        sources: list[tuple[str, ast.expr]] = []
        for n, text in enumerate(layers):
            items[text] = f"_vitem{i}_{n}"
            attribute = text.rpartition(".")[2]
            otherwise = "layer" if len(layers) == 1 else attribute
            self.wanted[items[text]] = singular_of(attribute, otherwise)
            whole = ast.parse(text, mode="eval").body
            stop = ast.Constant(run.first_index + run.count)
            part = ast.Slice(ast.Constant(run.first_index), stop, None)
            sources.append((items[text], ast.Subscript(whole, part, ast.Load())))
        if not any(s.consumer == i for s in self.stacks):
            for j, row in sorted(run.varying.items()):
                items[f"#{j}"] = f"_vitem{i}_{len(items)}"
                self.wanted[items[f"#{j}"]] = self._row_name(run, j)
                sources.append((items[f"#{j}"], self._row(row)))
        return items, sources

    def _row_name(self, run: Run, j: int) -> str:
        """After the argument that takes it; else what the values' names have in common."""
        names = {self.wanted.get(n, "").rstrip("0123456789").rstrip("_") for n in run.varying[j]}
        taken_as = self._taken_as(run, j)
        common = names.pop() if len(names) == 1 else ""
        return singular_of(taken_as or common, common or taken_as or "h")

    def _row(self, row: list[str]) -> ast.expr:
        """The values of a row as an iterable."""
        values = [copy.deepcopy(self.becomes.get(n, ast.Name(n, ast.Load()))) for n in row]
        whole = whole_list(values)
        if whole is not None:
            return whole
        backwards = whole_list(values[::-1])
        if backwards is not None:
            return ast.Call(ast.Name("reversed", ast.Load()), [backwards], [])
        return ast.Tuple(values, ast.Load())

    def _replacements(self, i: int, items: dict[str, str]) -> dict[int, ast.expr]:
        """What stands in the loop for reads of its first block, and for its layers."""
        run = self.runs[i]
        found: dict[int, ast.expr] = {}
        for j, read in enumerate(self._rows(i)[0]):
            if read.id in run.made[0]:
                d = run.made[0].index(read.id)
                found[id(read)] = ast.Name(self.variables[d], ast.Load())
            elif j in run.carry_places:
                found[id(read)] = ast.Name(self.variables[run.carry_places[j]], ast.Load())
            elif f"#{j}" in items:
                found[id(read)] = ast.Name(items[f"#{j}"], ast.Load())
            elif j in run.varying:
                stack = next(s for s in self.stacks if s.consumer == i)
                found[id(read)] = popped_from(stack.name)
        for s in run.block(self.body, 0):
            for x in list_items(s):
                if index_of(x) == run.first_index:
                    found[id(x)] = ast.Name(items[ast.unparse(x.value)], ast.Load())
        return found

    def _rewritten(self, s: ast.stmt, replaced: dict[int, ast.expr]) -> ast.stmt:
        popped = {p: stack.name for stack in self.stacks for p in stack.popped}
        return Rewriter(self.becomes, replaced, popped).rebuilt(s)
