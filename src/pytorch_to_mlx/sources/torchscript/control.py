"""``if`` and loops of TorchScript: chosen and unrolled where Python knows, traced where not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from pytorch_to_mlx.errors import CaptureError
from pytorch_to_mlx.sources.torchscript.block import Block, Env
from pytorch_to_mlx.sources.torchscript.operands import Saved, reached
from pytorch_to_mlx.sources.torchscript.raising import REFUSALS, raise_if
from pytorch_to_mlx.sources.torchscript.truth import (
    DataBool,
    as_condition,
    choose,
    decided_by_sizes,
    known,
    negated,
)

Place = tuple[str, int]

#: Rounds of one loop that are written out.
MOST_ROUNDS = 10_000


@dataclass
class If:
    """A choice. One that sizes or data decide becomes ``torch.cond``, unless a branch only raises:
    then the traced program refuses there, and the other branch is what the model computes."""

    condition: str
    then: Block
    other: Block
    outputs: list[str]
    place: Place
    numbers: bool = False  # whether it only chooses among numbers

    def __call__(self, env: Env) -> None:
        condition = as_condition(env[self.condition])
        chosen = known(condition)
        if chosen is None and (self.then.raises or self.other.raises):
            chosen = not self.then.raises
            refused = self.then if self.then.raises else self.other
            raise_if(negated(condition) if chosen else condition, refused.refusal(env))
        if chosen is None:
            results = self._traced(env)
        else:
            results = (self.then if chosen else self.other).run(env)
        env.update(zip(self.outputs, results, strict=True))

    def _traced(self, env: Env) -> list[Any]:
        from pytorch_to_mlx.sources.torchscript import branches

        condition = as_condition(env[self.condition])
        try:
            if self.numbers and self.then.pure and self.other.pure:
                pairs = list(zip(self.then.run(env), self.other.run(env), strict=True))
                if not isinstance(condition, DataBool) or all(_is_bool(a) for a, _ in pairs):
                    return [choose(condition, a, b) for a, b in pairs]
            return branches.traced(condition, self.then, self.other, env)
        except CaptureError:
            raise
        except Exception as error:
            if decided_by_sizes(condition):  # what the example's sizes choose holds for its range
                return (self.then if bool(condition) else self.other).run(env)
            file, line = self.place
            raise CaptureError(
                "an `if` that depends on data has branches of different kinds: "
                + (str(error).strip().splitlines() or [type(error).__name__])[0],
                origin=f"{file}:{line}" if file else "",
                hint="Give both branches tensors of one shape and dtype, or use torch.where",
            ) from error


class Start(NamedTuple):
    """What there was before the first round of a loop."""

    saved: Saved
    proceed: Any
    carried: list[Any]
    refusals: int  # made before


@dataclass
class Loop:
    """A loop, unrolled where its count is known; else ``torch.while_loop``."""

    names: list[str]
    body: Block
    outputs: list[str]
    place: Place

    def __call__(self, env: Env) -> None:
        count, proceed, *carried = (env[n] for n in self.names)
        i = 0
        start = None if self.body.always else self._start(env, proceed, carried)
        while True:
            go = known(proceed) if isinstance(count, int) else None
            more = known(i < count)
            if go is None or more is None:
                again = self._from(start, env) if start is not None and i else None
                carried = again or self._traced(env, i, proceed, carried)
                break
            if not (go and more):
                break
            if i == MOST_ROUNDS and _tracing():
                raise self._too_long()
            env.update(zip(self.body.inputs, [i, *carried], strict=True))
            proceed, *carried = self.body.run(env)
            i += 1
        env.update(zip(self.outputs, carried, strict=True))

    def _start(self, env: Env, proceed: Any, carried: list[Any]) -> Start | None:
        """All that is needed to begin again, unless rounds leave traces that stay."""
        if any(b.writes_outside or b.in_place for b in reached(self.body, env)):
            return None
        return Start(Saved([self.body], env), proceed, list(carried), len(REFUSALS))

    def _from(self, start: Start, env: Env) -> list[Any] | None:
        """The whole loop as one, where data turned out to end it; None if that cannot be."""
        from pytorch_to_mlx.sources.torchscript import loops

        if len(REFUSALS) > start.refusals:  # they would be made twice
            return None
        now = Saved([self.body], env)
        start.saved.restore()
        try:
            return loops.traced(self, env, 0, start.proceed, start.carried)
        except Exception:  # noqa: BLE001 - torch raises every class; what was run so far stays
            now.restore()
            return None

    def _traced(self, env: Env, i: int, proceed: Any, carried: list[Any]) -> list[Any]:
        from pytorch_to_mlx.sources.torchscript import loops

        try:
            return loops.traced(self, env, i, proceed, carried)
        except CaptureError:
            raise
        except Exception as error:
            count = env[self.names[0]]
            if known(proceed) and decided_by_sizes(i < count):
                return self._unrolled(env, i, int(count), carried)
            file, line = self.place
            raise CaptureError(
                "a loop that depends on data cannot be converted: "
                + (str(error).strip().splitlines() or [type(error).__name__])[0],
                origin=f"{file}:{line}" if file else "",
                hint="Keep the shapes and dtypes of what it carries the same in every round",
            ) from error

    def _too_long(self) -> CaptureError:
        file, line = self.place
        return CaptureError(
            f"a loop of more than {MOST_ROUNDS:,} rounds, each of which would be written out",
            origin=f"{file}:{line}" if file else "",
            hint="Let its count be a size of an input, or use an op for the whole tensor",
        )

    def _unrolled(self, env: Env, i: int, count: int, carried: list[Any]) -> list[Any]:
        """Every round written out; its count, a size of the example, is fixed by that."""
        proceed: Any = True
        while i < count and known(proceed):
            if i == MOST_ROUNDS:
                raise self._too_long()
            env.update(zip(self.body.inputs, [i, *carried], strict=True))
            proceed, *carried = self.body.run(env)
            i += 1
        return carried


def _tracing() -> bool:
    """Whether what runs is recorded; else rounds cost nothing but their time."""
    from torch.fx.experimental.proxy_tensor import get_proxy_mode

    return get_proxy_mode() is not None


def _is_bool(value: Any) -> bool:
    import torch

    return isinstance(value, (bool, torch.SymBool, DataBool))
