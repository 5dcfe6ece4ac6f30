"""The AGCL loss against a loop in float64 that follows docs/method.md's formula term by term."""

import math

import pytest
import torch
from agcl_loop import loop_loss

from afmrl_models.embedding.agcl import agcl_loss, agcl_losses


def case(queries, candidates, seed=0):
    generator = torch.Generator().manual_seed(seed)
    similarity = torch.rand(queries, candidates, generator=generator, dtype=torch.float64) * 2 - 1
    bm25 = torch.rand(queries, candidates, generator=generator, dtype=torch.float64) * 4
    bm25[torch.rand(queries, candidates, generator=generator) < 0.3] = 0
    bm25[0, 0] = 0  # a query whose positive shares no attribute with it
    same = torch.rand(queries, candidates, generator=generator) < 0.2
    return similarity, bm25, same


@pytest.mark.parametrize("bm25_scale", ["self", "raw"])
@pytest.mark.parametrize("margin", [0.0, 0.1, 2.0, math.inf])
@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (6, 17)])
@pytest.mark.parametrize("with_same", [False, True])
def test_equals_the_loop(bm25_scale, margin, shape, with_same):
    similarity, bm25, same = case(*shape)
    same = same if with_same else None
    settings = {"temperature": 0.05, "margin": margin, "same_product": same, "bm25_scale": bm25_scale}
    expected = loop_loss(similarity, bm25, 0.05, margin, same, bm25_scale)
    assert agcl_loss(similarity, bm25, **settings).item() == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert agcl_loss(similarity.float(), bm25, **settings).item() == pytest.approx(
        expected, rel=1e-4, abs=1e-5
    )


@pytest.mark.parametrize("bm25_scale", ["self", "raw"])
def test_gradient_equals_finite_differences_of_the_loop(bm25_scale):
    similarity, bm25, same = case(4, 7, seed=3)
    similarity.requires_grad_()
    agcl_loss(
        similarity, bm25, temperature=0.3, margin=0.1, same_product=same, bm25_scale=bm25_scale
    ).backward()
    step = 1e-6
    for i in range(4):
        for j in range(7):
            up, down = similarity.detach().clone(), similarity.detach().clone()
            up[i, j] += step
            down[i, j] -= step
            values = [loop_loss(x, bm25, 0.3, 0.1, same, bm25_scale) for x in (up, down)]
            assert similarity.grad[i, j].item() == pytest.approx(
                (values[0] - values[1]) / (2 * step), abs=1e-7
            )


def test_weights_and_mask_carry_no_gradient():
    similarity, bm25, _ = case(4, 6)
    similarity.requires_grad_()
    bm25.requires_grad_()
    agcl_loss(similarity, bm25, temperature=0.1, margin=0.1).backward()
    assert bm25.grad is None
    left_out = similarity.detach() > similarity.detach().diagonal().unsqueeze(1) + 0.1
    left_out[torch.arange(4), torch.arange(4)] = False
    assert left_out.any()
    assert (similarity.grad[left_out] == 0).all()
    assert (similarity.grad[~left_out] != 0).all()


def test_a_candidate_just_at_the_margin_is_a_negative():
    similarity = torch.tensor([[0.25, 0.5, 0.5 + 1e-6]], dtype=torch.float64)
    loss = agcl_loss(similarity, torch.zeros(1, 3), temperature=1.0, margin=0.25)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(0.25)))


def test_without_overlap_and_margin_it_is_infonce():
    similarity, _, _ = case(6, 9)
    expected = torch.nn.functional.cross_entropy(similarity / 0.05, torch.arange(6))
    for scale in ("self", "raw"):
        loss = agcl_loss(similarity, torch.zeros(6, 9), temperature=0.05, margin=math.inf, bm25_scale=scale)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    similarity, bm25, same = case(8, 12)
    half = similarity.to(dtype).requires_grad_()
    loss = agcl_loss(half, bm25.to(dtype), temperature=0.01, margin=0.1, same_product=same, bm25_scale="raw")
    assert loss.dtype == torch.float32
    expected = loop_loss(half.detach(), bm25.to(dtype), 0.01, 0.1, same, "raw")
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert half.grad.dtype == dtype


def test_stable_at_a_temperature_where_the_exponential_overflows():
    similarity = torch.tensor([[1.0, -1.0], [0.9, 1.0]], requires_grad=True)
    loss = agcl_loss(similarity, torch.full((2, 2), 50.0), temperature=1e-3, margin=0.1)
    loss.backward()
    assert loss.isfinite() and similarity.grad.isfinite().all()


def test_a_similarity_that_is_not_a_number_is_not_hidden():
    similarity = torch.eye(3)
    similarity[0, 2] = torch.nan
    assert agcl_loss(similarity, torch.ones(3, 3), temperature=0.1, margin=0.1).isnan()


def test_blocks_of_queries_give_the_whole_batch():
    similarity, bm25, same = case(7, 16)
    settings = {"temperature": 0.1, "margin": 0.1, "bm25_scale": "self"}
    whole = agcl_loss(similarity, bm25, same_product=same, **settings)
    blocks = [
        agcl_losses(similarity[rows], bm25[rows], rows, same_product=same[rows], **settings)
        for rows in torch.arange(7).split(3)
    ]
    assert torch.cat(blocks).mean().item() == pytest.approx(whole.item(), rel=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"margin": -0.1}, "margin"),
        ({"margin": math.nan}, "margin"),
        ({"bm25_scale": "other"}, "bm25_scale"),
        ({"bm25": torch.zeros(2, 2)}, "bm25 is"),
        ({"same_product": torch.zeros(3, 2, dtype=torch.bool)}, "same_product is"),
        ({"similarity": torch.zeros(3, 2)}, "Q <= D"),
        ({"similarity": torch.zeros(0, 2)}, "Q <= D"),
        ({"similarity": torch.zeros(2, 3, dtype=torch.int64)}, "floating point"),
    ],
)
def test_refuses_what_has_no_meaning(change, message):
    matrices = {"similarity": torch.zeros(2, 3), "bm25": torch.zeros(2, 3)}
    arguments = matrices | {"temperature": 0.1, "margin": 0.1} | change
    with pytest.raises(ValueError, match=message):
        agcl_loss(arguments.pop("similarity"), arguments.pop("bm25"), **arguments)
