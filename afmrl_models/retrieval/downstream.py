"""Downstream measures: how well the embeddings classify and cluster the catalog's categories."""

import numpy as np
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

_FOLDS = 5


class TooFewLabels(ValueError):
    """There is nothing to classify: fewer than two categories, or no product to learn from."""


def downstream_metrics(
    queries: np.ndarray,
    query_labels: np.ndarray,
    query_products: np.ndarray,
    gallery: np.ndarray,
    gallery_labels: np.ndarray,
    gallery_products: np.ndarray,
    *,
    seed: int,
) -> dict[str, float]:
    """`accuracy` of a linear probe, and `nmi`, `ari`, `purity` of k-means, all on the query embeddings.

    queries (Q, D), gallery (G, D) floats; labels and products are string arrays without nulls. Probe:
    logistic regression on the gallery's embeddings, judged on the queries'. Products are dealt to up to five
    folds, and the queries of a fold are judged by a probe that saw none of the fold's products: no listing
    of a product tells it the category of another. (The gallery stands in for a training split: it is
    embedded anyway, and no model was trained on it.) k-means: as many clusters as the queries have labels,
    best of ten starts. Raises TooFewLabels.
    """
    return {
        "accuracy": probe_accuracy(
            queries, query_labels, query_products, gallery, gallery_labels, gallery_products, seed=seed
        ),
        **cluster_metrics(queries, query_labels, seed=seed),
    }


def probe_accuracy(
    queries: np.ndarray,
    query_labels: np.ndarray,
    query_products: np.ndarray,
    gallery: np.ndarray,
    gallery_labels: np.ndarray,
    gallery_products: np.ndarray,
    *,
    seed: int,
) -> float:
    """Share of queries whose category the probe names; see `downstream_metrics`."""
    products = np.unique(query_products)
    if len(products) == 0:
        raise TooFewLabels("no query has a category")
    # A single query product still leaves the rest of the gallery to learn from.
    folds = min(_FOLDS, len(products))
    fold_of = dict(
        zip(np.random.default_rng(seed).permutation(products), np.arange(len(products)) % folds, strict=True)
    )
    query_folds = np.array([fold_of[product] for product in query_products])
    gallery_folds = np.array([fold_of.get(product, -1) for product in gallery_products])
    right = 0
    for fold in range(folds):
        train = gallery_folds != fold
        known = np.unique(gallery_labels[train])
        if len(known) < 2:
            raise TooFewLabels(
                f"the gallery of the other products has {len(known)} categories; a probe needs two"
            )
        judged = query_folds == fold
        probe = LogisticRegression(C=10.0, max_iter=1000).fit(gallery[train], gallery_labels[train])
        right += int((probe.predict(queries[judged]) == query_labels[judged]).sum())
    return right / len(query_labels)


def cluster_metrics(vectors: np.ndarray, labels: np.ndarray, *, seed: int) -> dict[str, float]:
    """`nmi` (arithmetic mean), `ari` and `purity` of k-means with as many clusters as labels."""
    count = len(np.unique(labels))
    if count < 2:
        raise TooFewLabels(f"the queries have {count} categories; clusters need two")
    clusters = KMeans(count, n_init=10, random_state=seed).fit_predict(vectors)
    return {
        "nmi": float(normalized_mutual_info_score(labels, clusters)),
        "ari": float(adjusted_rand_score(labels, clusters)),
        "purity": purity(labels, clusters),
    }


def purity(labels: np.ndarray, clusters: np.ndarray) -> float:
    """Share of items that carry their cluster's most frequent label (Manning et al., IIR, 16.3)."""
    return float(contingency_matrix(labels, clusters).max(axis=0).sum() / len(labels))
