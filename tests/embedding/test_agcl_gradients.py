"""The AGCL loss class: gradients with and without caching, against a plain computation of its own."""

import pytest
import torch
import torch.distributed as dist
from agcl_loop import loop_loss
from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss

from afmrl_models.attributes.bm25 import BM25
from afmrl_models.embedding.embedder import new_embedder
from afmrl_models.embedding.inputs import embedder_input, listing_text
from afmrl_models.embedding.loss import AGCLLoss, UncachedAGCLLoss, UncachedMultipleNegativesRankingLoss

ANCHORS = [0, 2, 4, 6, 9, 11, 16]
POSITIVES = [1, 3, 5, 7, 8, 10, 17]
NEGATIVES = [2, 0, 6, 12, 23, 4, 18]


@pytest.fixture(scope="module")
def parts(small_catalog):
    model = new_embedder(small_catalog.base, small_catalog.backbone, "cpu").eval()
    listings = small_catalog.listings
    texts = [small_catalog.attributes[id_] for id_ in listings.listing_id]

    def column(rows, modality="multimodal"):
        return model.preprocess(
            [
                embedder_input(
                    modality,
                    small_catalog.images.get(listings.listing_id[row]),
                    listing_text(listings.title[row], texts[row] if row % 3 == 0 else None),
                )
                for row in rows
            ]
        )

    return model, BM25(texts), listings.product_id.tolist(), column


def gradients(model, objective, columns, labels):
    model.zero_grad()
    loss = objective([dict(column) for column in columns], labels)
    loss.backward()
    return loss.item(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def assert_same(ours, theirs):
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    assert ours[1].keys() == theirs[1].keys()
    largest = max(gradient.abs().max() for gradient in theirs[1].values())
    assert largest > 1e-3
    for name, gradient in theirs[1].items():
        torch.testing.assert_close(ours[1][name], gradient, rtol=1e-4, atol=float(largest) * 1e-5, msg=name)


def plain(model, bm25, products, columns, labels, temperature, margin, scale):
    """One pass of the whole batch, and the formula spelled out in float64."""
    model.zero_grad()
    vectors = [model(dict(column))["sentence_embedding"].double() for column in columns]
    similarity = vectors[0] @ torch.cat(vectors[1:]).T
    rows = [labels[:, 0].tolist(), labels[:, 1:].T.flatten().tolist()]
    scores = bm25.scores(*rows).double()
    same = torch.tensor([[products[i] == products[j] for j in rows[1]] for i in rows[0]])
    own = scores.diagonal().unsqueeze(1)
    weight = torch.exp(1 + torch.tanh(scores / own if scale == "self" else scores))
    kept = (similarity <= similarity.diagonal().unsqueeze(1) + margin) & ~same
    kept = kept.detach()
    kept.fill_diagonal_(True)
    terms = weight * torch.exp(similarity / temperature)
    loss = -torch.log(terms.diagonal() / (terms * kept).sum(1)).mean()
    loss.backward()
    expected = loop_loss(similarity.detach(), scores, temperature, margin, same, scale)
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    assert not kept.all()
    return loss.item(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("scale", ["self", "raw"])
@pytest.mark.parametrize("with_negatives", [False, True])
def test_cached_uncached_and_plain_gradients_agree(parts, scale, with_negatives):
    model, bm25, products, column = parts
    rows = [ANCHORS, POSITIVES, *([NEGATIVES] if with_negatives else [])]
    columns, labels = [column(r) for r in rows], torch.tensor(rows).T
    settings = {"temperature": 0.07, "margin": 0.001, "bm25_scale": scale}
    expected = plain(model, bm25, products, columns, labels, 0.07, 0.001, scale)
    for objective in (AGCLLoss, UncachedAGCLLoss):
        for size in (2, 3, 64):
            built = objective(model, bm25, products, mini_batch_size=size, **settings)
            assert_same(gradients(model, built, columns, labels), expected)


def test_sides_of_different_modality(parts):
    model, bm25, products, column = parts
    columns, labels = (
        [column(ANCHORS, "image"), column(POSITIVES, "text")],
        torch.tensor([ANCHORS, POSITIVES]).T,
    )
    expected = plain(model, bm25, products, columns, labels, 0.05, 0.0, "self")
    built = AGCLLoss(model, bm25, products, mini_batch_size=2, temperature=0.05, margin=0.0)
    assert_same(gradients(model, built, columns, labels), expected)


def test_without_attributes_and_mask_it_is_the_librarys_infonce(parts):
    model, _, products, column = parts
    columns, labels = [column(ANCHORS), column(POSITIVES)], torch.tensor([ANCHORS, POSITIVES]).T
    empty = BM25([""] * len(products))
    ours = AGCLLoss(model, empty, [None] * len(products), temperature=0.05, margin=2.0, mini_batch_size=3)
    theirs = CachedMultipleNegativesRankingLoss(model, scale=20, mini_batch_size=3)
    kept = UncachedMultipleNegativesRankingLoss(model, scale=20, mini_batch_size=3)
    expected = gradients(model, theirs, columns, labels)
    assert_same(gradients(model, ours, columns, labels), expected)
    assert_same(gradients(model, kept, columns, labels), expected)


def test_evaluation_needs_no_gradient(parts):
    model, bm25, products, column = parts
    columns, labels = [column(ANCHORS), column(POSITIVES)], torch.tensor([ANCHORS, POSITIVES]).T
    losses = []
    for objective in (AGCLLoss, UncachedAGCLLoss):
        with torch.no_grad():
            loss = objective(model, bm25, products, mini_batch_size=2)([dict(c) for c in columns], labels)
        assert not loss.requires_grad
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1])


def test_says_which_settings_it_has(parts):
    model, bm25, products, _ = parts
    described = AGCLLoss(model, bm25, products, temperature=0.1, bm25_scale="raw").get_config_dict()
    assert described["temperature"] == pytest.approx(0.1)
    assert described["bm25_scale"] == "raw" and described["margin"] == 0.1 and described["bm25_k1"] == 1.2


def test_refuses_labels_that_do_not_name_the_listings(parts):
    model, bm25, products, column = parts
    columns = [column(ANCHORS), column(POSITIVES)]
    objective = AGCLLoss(model, bm25, products)
    for labels in (None, torch.tensor(ANCHORS), torch.rand(7, 2), torch.tensor([ANCHORS]).T):
        with pytest.raises(ValueError, match="integer labels"):
            objective(columns, labels)
    with pytest.raises(ValueError, match="bm25 holds 24 listings, products 23"):
        AGCLLoss(model, bm25, products[1:])


def _rank_gradients(rank, address, model, bm25, products, vectors, rows, results):
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    half = slice(4 * rank, 4 * rank + 4)
    reps = [[part.clone().requires_grad_() for part in column[half].split(3)] for column in vectors]
    objective = AGCLLoss(model, bm25, products, mini_batch_size=3, gather_across_devices=True)
    objective.calculate_loss(reps, rows[half], with_backward=True)
    # As DistributedDataParallel does, the devices' gradients are averaged.
    results[rank] = [torch.cat([part.grad for part in column]).numpy() / 2 for column in reps]
    dist.destroy_process_group()


def test_two_devices_have_the_gradients_of_one(parts, tmp_path):
    model, bm25, products, _ = parts
    generator = torch.Generator().manual_seed(1)
    vectors = [torch.nn.functional.normalize(torch.randn(8, 6, generator=generator), dim=1) for _ in range(3)]
    rows = torch.tensor([[*ANCHORS, 20], [*POSITIVES, 21], [*NEGATIVES, 3]]).T
    whole = [[column.clone().requires_grad_()] for column in vectors]
    AGCLLoss(model, bm25, products, mini_batch_size=3).calculate_loss(whole, rows, with_backward=True)

    context = torch.multiprocessing.get_context("fork")
    with context.Manager() as manager:
        results = manager.dict()
        arguments = (f"file://{tmp_path}/rendezvous", model, bm25, products, vectors, rows, results)
        workers = [context.Process(target=_rank_gradients, args=(rank, *arguments)) for rank in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
        assert [worker.exitcode for worker in workers] == [0, 0]
        for index, column in enumerate(whole):
            found = torch.cat([torch.from_numpy(results[rank][index]) for rank in range(2)])
            torch.testing.assert_close(found, column[0].grad)
