"""torch's fast path of ``nn.TransformerEncoder``, which gives other rows where inputs are padded.

Outside of training, without gradients and with a ``src_key_padding_mask`` whose padding is at the
end, it leaves padded rows out and fills them with zeros. Exported programs do not have it, nor does
training: what is converted is the ordinary path. Rows that are not padded are the same; one that
goes on to use the others (a mean over time) gives something else, which is to be known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pytorch_to_mlx.capture.reference import ReferenceOutput, agree

if TYPE_CHECKING:
    from torch import nn


def fast_path_notes(
    module: nn.Module, was_on: bool, compute: Callable[[], list[ReferenceOutput]]
) -> list[str]:
    """A warning if the fast path (``was_on`` for the user) changes what ``compute`` gives."""
    import torch

    encoders = [
        path
        for path, sub in module.named_modules()
        if isinstance(sub, torch.nn.TransformerEncoder) and getattr(sub, "use_nested_tensor", False)
    ]
    if not encoders or not was_on:
        return []
    ordinary = compute()
    torch.backends.mha.set_fastpath_enabled(True)
    try:
        fast = compute()
    finally:
        torch.backends.mha.set_fastpath_enabled(False)
    if all(agree(a, b) for a, b in zip(ordinary, fast, strict=True)):
        return []
    where = encoders[0] or "the model"
    text = (
        f"torch's fast path of nn.TransformerEncoder ({where}) puts zeros where "
        "src_key_padding_mask is set; the package computes these rows as torch does with "
        "torch.backends.mha.set_fastpath_enabled(False), so results made of them differ"
    )
    return [text]
