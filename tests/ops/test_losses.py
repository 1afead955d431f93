"""ops.losses and ops.ctc against torch; classes go in last."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pytorch_to_mlx.ops import ctc
from pytorch_to_mlx.ops import losses as ls
from tests.ops.torch_parity import assert_same, to_mx

REDUCTIONS = ["none", "mean", "sum"]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(4, 5), (2, 5, 3), (2, 5, 2, 3)])
def test_cross_entropy(shape: tuple[int, ...], reduction: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape)
    target = torch.randint(0, 5, (shape[0], *shape[2:]))
    target.view(-1)[1] = 3
    weight = torch.rand(5)
    soft = torch.softmax(torch.randn(shape), 1)
    m, t, w, s = to_mx((x.movedim(1, -1), target, weight, soft.movedim(1, -1)))
    for ignored in (-100, 3):
        for tw, mw in ((None, None), (weight, w)):
            logp, mlogp = F.log_softmax(x, 1), to_mx(F.log_softmax(x, 1).movedim(1, -1))
            args = {"weight": tw, "ignore_index": ignored, "reduction": reduction}
            assert_same(
                ls.nll_loss(mlogp, t, mw, ignored, reduction), F.nll_loss(logp, target, **args)
            )
            for smooth in (0.0, 0.2):
                want = F.cross_entropy(x, target, label_smoothing=smooth, **args)
                assert_same(ls.cross_entropy(m, t, mw, ignored, reduction, smooth), want)
                args2 = {"weight": tw, "reduction": reduction, "label_smoothing": smooth}
                want = F.cross_entropy(x, soft, **args2)
                assert_same(ls.cross_entropy(m, s, mw, -100, reduction, smooth), want)
    one, label = torch.randn(5), torch.tensor(2)
    assert_same(ls.cross_entropy(*to_mx((one, label))), F.cross_entropy(one, label))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_regression(reduction: str) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(3, 4) * 2, torch.randn(3, 4)
    m, n = to_mx((x, y))
    r = {"reduction": reduction}
    assert_same(ls.mse_loss(m, n, reduction), F.mse_loss(x, y, **r))
    assert_same(ls.l1_loss(m, n, reduction), F.l1_loss(x, y, **r))
    for d in (0.5, 2.0):
        assert_same(ls.huber_loss(m, n, reduction, d), F.huber_loss(x, y, delta=d, **r))
    for d in (0.0, 0.5, 2.0):
        assert_same(ls.smooth_l1_loss(m, n, reduction, d), F.smooth_l1_loss(x, y, beta=d, **r))
    var = torch.rand(3, 4)
    for full in (False, True):
        want = F.gaussian_nll_loss(x, y, var, full=full, **r)
        assert_same(ls.gaussian_nll_loss(m, n, to_mx(var), full, 1e-6, reduction), want)
        count = torch.randint(0, 5, (3, 4)).float()
        for log in (False, True):
            rate = x if log else x.abs()
            want = F.poisson_nll_loss(rate, count, log_input=log, full=full, **r)
            got = ls.poisson_nll_loss(*to_mx((rate, count)), log, full, 1e-8, reduction)
            assert_same(got, want)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_probabilities(reduction: str) -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 4) * 3
    p, y = torch.sigmoid(logits), torch.rand(3, 4)
    p[0, 0], p[0, 1], y[0, :2], y[1, 0] = 0.0, 1.0, 1.0, 0.0
    w, pos = torch.rand(4), torch.rand(4) * 3
    r = {"reduction": reduction}
    m, n, mw, mpos, ml = to_mx((p, y, w, pos, logits))
    for tw, aw in ((None, None), (w, mw)):
        want = F.binary_cross_entropy(p, y, weight=None if tw is None else tw.expand(3, 4), **r)
        assert_same(ls.binary_cross_entropy(m, n, aw, reduction), want)
        for tp, ap in ((None, None), (pos, mpos)):
            want = F.binary_cross_entropy_with_logits(logits, y, tw, pos_weight=tp, **r)
            assert_same(ls.binary_cross_entropy_with_logits(ml, n, aw, ap, reduction), want)
        hot = (y > 0.5).float()
        want = F.multilabel_soft_margin_loss(logits, hot, tw, **r)
        assert_same(ls.multilabel_soft_margin_loss(ml, to_mx(hot), aw, reduction), want)
    logp = F.log_softmax(logits, 1)
    for log_target in (False, True):
        target = torch.log(y + 0.1) if log_target else y
        want = F.kl_div(logp, target, log_target=log_target, **r)
        assert_same(ls.kl_div(*to_mx((logp, target)), reduction, log_target), want)
        want = F.kl_div(logp, target, log_target=log_target, reduction="batchmean")
        assert_same(ls.kl_div(*to_mx((logp, target)), "batchmean", log_target), want)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_margins(reduction: str) -> None:
    torch.manual_seed(0)
    a, b, c = torch.randn(6, 5), torch.randn(6, 5), torch.randn(6, 5)
    sign = torch.tensor([1.0, -1, 1, -1, -1, 1])
    label, w = torch.tensor([0, 4, 2, 2, 1, 3]), torch.rand(5)
    many = torch.tensor([[0, 3, -1, 1, 2], [-1] * 5, [4, 3, 2, 1, 0]] * 2)
    r = {"reduction": reduction}
    ma, mb, mc, ms, ml, mw, mm = to_mx((a, b, c, sign, label, w, many))
    s2, ms2 = sign[:, None].expand(6, 5), ms[:, None]
    for margin in (0.2, 1.0):
        want = F.hinge_embedding_loss(a, s2, margin, **r)
        assert_same(ls.hinge_embedding_loss(ma, ms2, margin, reduction), want)
        want = F.margin_ranking_loss(a, b, s2, margin, **r)
        assert_same(ls.margin_ranking_loss(ma, mb, ms2, margin, reduction), want)
        want = F.cosine_embedding_loss(a, b, sign, margin, **r)
        assert_same(ls.cosine_embedding_loss(ma, mb, ms, margin, reduction), want)
        for p in (1, 2):
            for tw, aw in ((None, None), (w, mw)):
                want = F.multi_margin_loss(a, label, p, margin, tw, **r)
                assert_same(ls.multi_margin_loss(ma, ml, p, margin, aw, reduction), want)
            for swap in (False, True):
                want = F.triplet_margin_loss(a, b, c, margin, p, swap=swap, **r)
                got = ls.triplet_margin_loss(ma, mb, mc, margin, p, 1e-6, swap, reduction)
                assert_same(got, want)
    assert_same(ls.soft_margin_loss(ma, ms2, reduction), F.soft_margin_loss(a, s2, **r))
    want = F.multilabel_margin_loss(a, many, **r)
    assert_same(ls.multilabel_margin_loss(ma, mm, reduction), want)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("blank", [0, 3])
def test_ctc(blank: int, reduction: str) -> None:
    torch.manual_seed(0)
    logp = F.log_softmax(torch.randn(8, 4, 5), -1)
    choices = torch.tensor([c for c in range(5) if c != blank])
    targets = choices[torch.randint(0, 4, (4, 5))]
    targets[0, 1] = targets[0, 0]  # a repeat needs a blank between
    inputs, lengths = torch.tensor([8, 7, 5, 2]), torch.tensor([5, 3, 0, 4])
    flat = torch.cat([t[:n] for t, n in zip(targets, lengths, strict=True)])
    for zero in (False, True):
        args = {"blank": blank, "reduction": reduction, "zero_infinity": zero}
        want = F.ctc_loss(logp, targets, inputs, lengths, **args)
        assert_same(ctc.ctc_loss(*to_mx((logp, targets, inputs, lengths)), **args), want)
        assert_same(ctc.ctc_loss(*to_mx((logp, flat, inputs, lengths)), **args), want)
