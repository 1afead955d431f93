"""Changes of protobuf messages field by field: what comes out still parses, and is rarely right."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tests.hostile.names import CODE, MARKUP

_INTEGERS = (0, 1, -1, 2, 3, 7, 64, 255, 256, 1 << 16, 1 << 31, (1 << 31) - 1, 1 << 40, 1 << 62)
_FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-30, 1e38, float("inf"), float("-inf"), float("nan"))
_NAMES = (*CODE[:4], *MARKUP[:2], "", " ", "../../etc/passwd", "/dev/zero", "a" * 2000, "\0")
_WHOLE = {
    FieldDescriptor.CPPTYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, (1 << 32) - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, (1 << 64) - 1),
}


def mutate(message: Message, draw: random.Random, donors: Sequence[Message] = ()) -> None:
    """One change, in place: of a number, a name, a list, or a part taken from a donor."""
    for _ in range(20):
        owner, field = _pick(message, draw)
        if owner is not None and _change(owner, field, draw, message, donors):
            return


def _pick(message: Message, draw: random.Random) -> tuple[Any, Any]:
    """A message somewhere inside and one of its fields; deeper ones are as likely as the first."""
    owner: Any = message
    while True:
        held = owner.ListFields()
        inner = [
            part
            for field, value in held
            if field.message_type is not None
            for part in (value if _many(field) else [value])
        ]
        if not inner or draw.random() < 0.25:
            break
        owner = draw.choice(inner)
    fields = [f for f, _ in owner.ListFields()]
    if not fields or draw.random() < 0.1:
        fields = [f for f in owner.DESCRIPTOR.fields if f.message_type is None]
    return (owner, draw.choice(fields)) if fields else (None, None)


def _many(field: Any) -> bool:
    return bool(field.is_repeated)


def _change(
    owner: Any, field: Any, draw: random.Random, root: Message, donors: Sequence[Message]
) -> bool:
    if _many(field):
        return _change_list(getattr(owner, field.name), owner, field, draw, root, donors)
    if field.message_type is not None:
        if draw.random() < 0.5:
            owner.ClearField(field.name)
            return True
        other = _of_type(field.message_type, draw, (root, *donors))
        if other is not None:
            copy = other.SerializeToString()  # a message may not take a part of itself
            getattr(owner, field.name).ParseFromString(copy)
        return other is not None
    if draw.random() < 0.15:
        owner.ClearField(field.name)
        return True
    setattr(owner, field.name, _scalar(field, getattr(owner, field.name), draw, root))
    return True


def _change_list(
    values: Any,
    owner: Any,
    field: Any,
    draw: random.Random,
    root: Message,
    donors: Sequence[Message],
) -> bool:
    count = len(values)
    way = draw.randrange(5)
    if count and way == 0:
        del values[draw.randrange(count)]
    elif count > 1 and way == 1:
        i, j = draw.sample(range(count), 2)
        items = [_copied(v) for v in values]
        items[i], items[j] = items[j], items[i]
        del values[:]
        values.extend(items)
    elif count and way == 2:
        values.append(_copied(values[draw.randrange(count)]))
    elif field.message_type is not None:
        other = _of_type(field.message_type, draw, (root, *donors))
        if other is None:
            return False
        values.append(_copied(other))
    elif count and draw.random() < 0.8:
        at = draw.randrange(count)
        values[at] = _scalar(field, values[at], draw, root)
    else:
        values.append(_scalar(field, field.default_value or _zero(field), draw, root))
    return True


def _copied(value: Any) -> Any:
    return type(value).FromString(value.SerializeToString()) if _is_message(value) else value


def _is_message(value: Any) -> bool:
    return hasattr(value, "SerializeToString")


def _zero(field: Any) -> Any:
    kinds = {FieldDescriptor.CPPTYPE_STRING: b"" if _is_bytes(field) else ""}
    return kinds.get(field.cpp_type, 0)


def _is_bytes(field: Any) -> bool:
    return bool(field.type == FieldDescriptor.TYPE_BYTES)


def _scalar(field: Any, value: Any, draw: random.Random, root: Message) -> Any:
    kind = field.cpp_type
    if kind in _WHOLE:
        low, high = _WHOLE[kind]
        near = value + draw.choice((-1, 1, -2, 2))
        made = near if draw.random() < 0.4 else draw.choice(_INTEGERS) * draw.choice((1, 1, -1))
        return min(max(made, low), high)
    if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return draw.choice((*_FLOATS, value * 2, -value))
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return not value
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return draw.choice(field.enum_type.values).number
    if _is_bytes(field):
        return damaged(value, draw)
    names = _names(root) if draw.random() < 0.7 else _NAMES
    return draw.choice(names or _NAMES)


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Bytes with a bit turned, cut, doubled, or with other ones in the middle."""
    if not data:
        return bytes(draw.randrange(1, 9))
    at, way = draw.randrange(len(data)), draw.randrange(6)
    if way < 3:
        return data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :]
    if way == 3:
        return data[:at]
    if way == 4:
        return data + data[: at + 1]
    return data[:at] + bytes([draw.randrange(256)]) * draw.randrange(1, 9) + data[at + 1 :]


def _names(root: Message) -> list[str]:
    """Every name that a graph, or a model's graph, mentions."""
    graph = getattr(root, "graph", root)
    found = [i.name for i in (*graph.input, *graph.output, *graph.initializer)]
    for n in graph.node:
        found += [*n.input, *n.output, n.op_type]
    return [n for n in found if isinstance(n, str)]  # bytes are no UTF-8


def _of_type(kind: Any, draw: random.Random, roots: Sequence[Message]) -> Message | None:
    """Some message of a type within one of the roots."""
    found: list[Message] = []
    waiting: list[Any] = [draw.choice(roots)]
    while waiting and len(found) < 200:
        message = waiting.pop()
        if message.DESCRIPTOR.full_name == kind.full_name:
            found.append(message)
        for field, value in message.ListFields():
            if field.message_type is not None:
                waiting += list(value) if _many(field) else [value]
    return draw.choice(found) if found else None
