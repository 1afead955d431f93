"""What a body needs lists for: runs whose results cross them, and the order they are taken in.

A stack is planned only if playing it through gives every pop the value that stood in its place.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

from pytorch_to_mlx.codegen.list_names import plural_of
from pytorch_to_mlx.codegen.runs import Run, find_runs, list_items, reads, stored


@dataclass
class Stack:
    """What is pushed, and popped by one run (and by single reads before it)."""

    name: str
    consumer: int  # which run
    # of a producing run: ordinals pushed when made, and those whose incoming value is
    made: dict[int, set[int]] = field(default_factory=dict)
    incoming: dict[int, set[int]] = field(default_factory=dict)
    single: set[str] = field(default_factory=set)  # pushed on their own
    popped: set[int] = field(default_factory=set)  # ids of names read by a pop of their own


class Plan:
    """Which runs of a body become loops with lists, and which values are in which.

    ``wanted`` (placeholder to name) gets the names of what is added.
    """

    def __init__(
        self, body: list[ast.stmt], arguments: Sequence[str], wanted: dict[str, str]
    ) -> None:
        self.body = [copy.deepcopy(s) for s in body]  # reads are told apart by identity
        self.arguments, self.wanted = list(arguments), wanted
        self.runs = find_runs(self.body, arguments, wanted)
        self.values = {*(n for s in self.body for n in stored(s)), *arguments} - {"_"}
        self.place = dict.fromkeys(arguments, -1)
        self.place |= {n: i for i, s in enumerate(self.body) for n in stored(s) if n != "_"}
        self.order = {n: i for i, n in enumerate(self.place)}
        self.stacks: list[Stack] = []
        self.lists: dict[tuple[int, int], str] = {}  # run and ordinal: list of all its values
        self.becomes: dict[str, ast.expr] = {}
        self.active = {i for i, r in enumerate(self.runs) if r.varying or self._crosses(r)}
        for i in sorted(self.active):
            if self.runs[i].varying:
                self._stack_for(i)
        self.active = {i for i in self.active if self._is_one_role(i)}
        for i in sorted(self.active):
            self._collect(i)

    # -- what is read where -----------------------------------------------------------------------

    def _names(self, start: int, end: int | None = None) -> list[ast.Name]:
        return list(reads(self.body[start:end], self.values))

    def _crosses(self, run: Run) -> bool:
        """Whether a value of any iteration but the last is read after the run."""
        early = {n for names in run.made[:-1] for n in names}
        return any(n.id in early for n in self._names(run.end))

    def _rows(self, i: int) -> list[list[ast.Name]]:
        """The reads of every block of a run, by place."""
        run = self.runs[i]
        return [list(reads(run.block(self.body, k), self.values)) for k in range(run.count)]

    def _handled(self) -> set[int]:
        """Ids of reads that stacks give."""
        ids = {p for s in self.stacks for p in s.popped}
        for s in self.stacks:
            varying = self.runs[s.consumer].varying
            ids |= {id(row[j]) for row in self._rows(s.consumer) for j in varying}
        return ids

    # -- stacks -----------------------------------------------------------------------------------

    def _stack_for(self, i: int) -> None:
        """Finds the pushes for which a run's varying reads are pops, if there are any."""
        run = self.runs[i]
        taken = [run.varying[j][k] for k in range(run.count) for j in sorted(run.varying)]
        if not all(self.place[n] < run.start for n in taken):
            return
        stack = Stack(f"_vstack{i}", i)
        rest = set(taken)
        for r in range(i):
            producer = self.runs[r]
            if any(producer.ordinal_of(n) for n in taken):
                self._produce(stack, r, rest)
        stack.single |= rest
        if not self._plays(stack, taken):
            return
        self.active.update(stack.made, stack.incoming)
        self.stacks.append(stack)
        self.wanted[stack.name] = self._stack_name(i)

    def _produce(self, stack: Stack, r: int, rest: set[str]) -> None:
        """Lets a run push what it makes, or what comes in; takes that out of ``rest``."""
        run = self.runs[r]
        for d in range(len(run.made[0])):
            made = [names[d] for names in run.made]
            found = [n in rest for n in made]
            incoming = run.carried.get(d)
            if incoming in rest and all(found[:-1]) and not found[-1]:
                stack.incoming.setdefault(r, set()).add(d)
                rest -= {incoming, *made[:-1]}
            elif any(found):
                stack.made.setdefault(r, set()).add(d)
                rest -= set(made)
                for n, there in zip(made, found, strict=True):
                    if not there:
                        self._pop_alone(stack, n)

    def _pop_alone(self, stack: Stack, n: str) -> None:
        """The last read of a value between its push and the consumer becomes a pop of its own."""
        start = self.runs[stack.consumer].start
        single = [x for x in self._names(self.place[n] + 1, start) if x.id == n]
        in_run = {id(x) for r in range(len(self.runs)) for row in self._rows(r) for x in row}
        single = [x for x in single if id(x) not in in_run]
        if single:
            stack.popped.add(id(single[-1]))

    def _plays(self, stack: Stack, taken: list[str]) -> bool:
        """Plays pushes and pops through: whether every pop gives the value that is read there."""
        held: list[str] = [n for n in self.arguments if n in stack.single]
        consumer = self.runs[stack.consumer]
        starts = {self.runs[r].start: r for r in (*stack.made, *stack.incoming)}
        at = 0
        while at < consumer.start:
            if at in starts:
                run = self.runs[starts[at]]
                held += self._pushes(stack, starts[at])
                at = run.end
                continue
            for x in reads([self.body[at]], self.values):
                if id(x) in stack.popped and (not held or held.pop() != x.id):
                    return False
            held += [n for n in stored(self.body[at]) if n in stack.single]
            at += 1
        return held == taken[::-1]

    def _pushes(self, stack: Stack, r: int) -> list[str]:
        run = self.runs[r]
        out: list[str] = []
        for k in range(run.count):
            for d in sorted(stack.incoming.get(r, ())):
                out.append(run.made[k - 1][d] if k else run.carried[d])
            out += [run.made[k][d] for d in sorted(stack.made.get(r, ()))]
        return out

    def _stack_name(self, i: int) -> str:
        """After the argument that takes the values, where all have one name."""
        run = self.runs[i]
        names = {self._taken_as(run, j) for j in run.varying}
        return plural_of(names.pop(), "skips") if len(names) == 1 else "skips"

    def _taken_as(self, run: Run, j: int) -> str:
        """The argument of the called module that gets the j-th read of a block."""
        target = list(reads(run.block(self.body, 0), self.values))[j]
        for s in run.block(self.body, 0):
            for call in (n for n in ast.walk(s) if isinstance(n, ast.Call)):
                names = call.__dict__.get("arguments", ())
                if any(a is target for a in call.args) and len(names) >= len(call.args):
                    return str(names[next(k for k, a in enumerate(call.args) if a is target)])
        return ""

    def _is_one_role(self, i: int) -> bool:
        """Whether what a loop takes in turn is of one kind: two values of different names are not
        (a mask here, an encoder's states there).
        """
        run = self.runs[i]
        if run.count > 2 or any(
            s.consumer == i or i in (*s.made, *s.incoming) for s in self.stacks
        ):
            return True
        for row in run.varying.values():
            made = [(r, self.runs[r].ordinal_of(n)) for n in row for r in sorted(self.active)]
            of = {(r, where[1]) for r, where in made if where is not None}
            names = {self.wanted.get(n, "x").rstrip("0123456789").rstrip("_") for n in row}
            if len(of) != 1 and len(names) != 1:
                return False
        return True

    # -- lists ------------------------------------------------------------------------------------

    def _collect(self, i: int) -> None:
        """What is read of a run's values afterwards: the last is a variable, others in a list."""
        run = self.runs[i]
        handled = self._handled()
        later = {n.id for n in self._names(run.end) if id(n) not in handled}
        for d in range(len(run.made[0])):
            made = [names[d] for names in run.made]
            if later.intersection(made[:-1]):
                self.lists[i, d] = f"_vlist{i}_{d}"
                names = {self.wanted.get(n, "x") for n in made}
                base = names.pop() if len(names) == 1 else ""
                name = plural_of(base, "outputs")
                if name in {self.wanted[n] for n in self.lists.values() if n in self.wanted}:
                    name = f"{self._layers(run)}_{name}"
                self.wanted[self.lists[i, d]] = name

    def _layers(self, run: Run) -> str:
        """The attribute over which a run goes."""
        items = (x for s in run.block(self.body, 0) for x in list_items(s))
        return ast.unparse(next(items).value).rpartition(".")[2]
