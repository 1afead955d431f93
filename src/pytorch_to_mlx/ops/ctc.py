"""Connectionist temporal classification (Graves et al., 2006), by the forward recursion."""

from __future__ import annotations

import mlx.core as mx


def pad_targets(targets: mx.array, lengths: mx.array) -> mx.array:
    """Targets as [N, S]: concatenated ones [sum of lengths] are split, which evaluates lengths."""
    if targets.ndim == 2:
        return targets
    longest = max(int(mx.max(lengths)), 1)
    starts = mx.cumsum(lengths) - lengths
    places = starts[:, None] + mx.arange(longest)
    return targets[mx.clip(places, 0, max(targets.size - 1, 0))]


def ctc_loss(
    log_probs: mx.array,
    targets: mx.array,
    input_lengths: mx.array,
    target_lengths: mx.array,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> mx.array:
    """``torch.nn.functional.ctc_loss``: ``log_probs`` [T, N, C], ``targets`` [N, S] or 1-D.

    "mean" divides each loss by its target's length (at least 1) before averaging.
    """
    steps, batch, _ = log_probs.shape
    labels = pad_targets(targets, target_lengths)
    length = labels.shape[1]
    # Blanks between, before and after the labels: blank, l1, blank, l2, ..., blank.
    gaps = mx.full((batch, length), blank, dtype=labels.dtype)
    path = mx.concatenate(
        [mx.stack([gaps, labels], axis=2).reshape(batch, 2 * length), gaps[:, :1]]
        if length
        else [mx.full((batch, 1), blank, dtype=labels.dtype)],
        axis=1,
    )
    places = mx.arange(2 * length + 1)
    inside = places <= 2 * target_lengths[:, None]
    before = mx.pad(path, [(0, 0), (2, 0)], constant_values=blank)[:, : 2 * length + 1]
    may_skip = (path != blank) & (path != before) & (places >= 2)
    never = mx.array(-mx.inf, dtype=log_probs.dtype)
    alpha = mx.where((places <= 1) & inside, mx.take_along_axis(log_probs[0], path, axis=1), never)
    for t in range(1, steps):
        one = mx.pad(alpha, [(0, 0), (1, 0)], constant_values=-mx.inf)[:, :-1]
        two = mx.pad(alpha, [(0, 0), (2, 0)], constant_values=-mx.inf)[:, :-2]
        reach = mx.logaddexp(mx.logaddexp(alpha, one), mx.where(may_skip, two, never))
        moved = mx.where(inside, reach + mx.take_along_axis(log_probs[t], path, axis=1), never)
        alpha = mx.where((t < input_lengths)[:, None], moved, alpha)
    last = 2 * target_lengths[:, None]
    label_end = mx.take_along_axis(alpha, mx.maximum(last - 1, 0), axis=1)
    ends = mx.logaddexp(
        mx.take_along_axis(alpha, last, axis=1), mx.where(last > 0, label_end, never)
    )
    loss = -ends[:, 0]
    if zero_infinity:
        loss = mx.where(loss == mx.inf, 0, loss)
    if reduction == "mean":
        return mx.mean(loss / mx.maximum(target_lengths, 1).astype(loss.dtype))
    return mx.sum(loss) if reduction == "sum" else loss
