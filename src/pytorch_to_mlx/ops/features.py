"""Features for classical models: n-grams, label maps and decision trees."""

from __future__ import annotations

import math

import mlx.core as mx


def count_ngrams(x: mx.array, ngrams: mx.array, skips: int = 0) -> mx.array:
    """How often each row of ``ngrams`` [P, n] occurs in ``x`` [..., L]: float32 [..., P].

    The members of an n-gram may lie up to ``skips`` elements apart, all equally far. Source: ONNX
    ``TfIdfVectorizer``.
    """
    length, n = x.shape[-1], ngrams.shape[1]
    total = mx.zeros((*x.shape[:-1], ngrams.shape[0]))
    for step in range(1, skips + 2):
        count = length - (n - 1) * step
        if count <= 0:
            break
        found = mx.array(True)
        for k in range(n):
            members = x[..., k * step : k * step + count]
            found = found & (members[..., None] == ngrams[:, k])
        total = total + mx.sum(found, axis=-2)
    return total


def label_encode(x: mx.array, keys: mx.array, values: mx.array, default: float) -> mx.array:
    """The value of each element's key, or ``default``; NaN is a key too."""
    given = x[..., None]
    same = (given == keys) | ((given != given) & (keys != keys))
    found = mx.take(values, mx.argmax(same, axis=-1))
    return mx.where(mx.any(same, axis=-1), found, mx.array(default, dtype=values.dtype))


def branch_taken(
    value: mx.array, split: mx.array, mode: mx.array, members: mx.array | None
) -> mx.array:
    """Whether a value takes the true branch: ``mode`` 0 to 5 compares it by <=, <, >=, >, ==, !=
    with ``split``; 6 looks for it among the ``members`` on the last axis."""
    taken = value <= split
    others = (value < split, value >= split, value > split, value == split, value != split)
    for code, answer in enumerate(others, start=1):
        taken = mx.where(mode == code, answer, taken)
    if members is None:
        return taken
    return mx.where(mode == 6, mx.any(value[..., None] == members, axis=-1), taken)


def tree_leaves(
    x: mx.array,
    roots: mx.array,
    features: mx.array,
    splits: mx.array,
    modes: mx.array,
    true_branches: mx.array,
    false_branches: mx.array,
    missing: mx.array,
    depth: int,
    members: mx.array | None = None,
) -> mx.array:
    """The leaf that each row of ``x`` [N, F] reaches in each tree: [N, T].

    Nodes are numbered on through the leaves, which come after them; ``missing`` says where NaN
    takes the true branch. Source: ONNX ``TreeEnsemble``.
    """
    nodes = features.shape[0]
    at = mx.broadcast_to(roots, (x.shape[0], roots.shape[0]))
    for _ in range(depth):
        node = mx.minimum(at, nodes - 1)
        value = mx.take_along_axis(x, features[node], axis=1)
        sets = None if members is None else members[node]
        taken = branch_taken(value, splits[node], modes[node], sets)
        taken = taken | (missing[node] & (value != value))
        onward = mx.where(taken, true_branches[node], false_branches[node])
        at = mx.where(at < nodes, onward, at)
    return at - nodes


def leaf_totals(leaves: mx.array, weights: mx.array, combine: str = "sum") -> mx.array:
    """What the leaves [N, T] that were reached give each target, of ``weights`` [leaves, targets]:
    [N, targets]. ``combine`` is ``"sum"``, ``"average"`` (over trees), ``"min"`` or ``"max"``."""
    given = weights[leaves]
    if combine == "min":
        return mx.min(given, axis=1)
    if combine == "max":
        return mx.max(given, axis=1)
    total = mx.sum(given, axis=1)
    return total / leaves.shape[1] if combine == "average" else total


def softmax_of_nonzero(x: mx.array) -> mx.array:
    """Softmax over the last axis among what is not zero; zeros stay."""
    return mx.where(x == 0, 0, mx.softmax(mx.where(x == 0, -math.inf, x), axis=-1))
