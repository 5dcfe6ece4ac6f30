"""Which faiss index a catalog of N listings gets: flat and exact, or IVF-PQ where that would be too slow.

IVF-PQ parts the vectors into cells, keeps `code_bytes` bytes of each, and looks into `nprobe` cells; what it
finds is ordered again by the exact vectors (`ProductIndex.search`). `benchmarks/product_index.py` measures
what that costs in recall.
"""

import logging
import math
from dataclasses import dataclass

import faiss
import numpy as np

from afmrl_models.config.release import ProductIndexConfig
from afmrl_models.retrieval.search import SearchError

logger = logging.getLogger(__name__)

# k-means wants 39 vectors a cell and gains little beyond; a code book has 256 entries.
_LEAST_A_CELL, _TRAINED_A_CELL, _LEAST_FOR_CODES = 39, 64, 256 * 39
# What faiss's kernels on a GPU are compiled for.
_GPU_CODE_BYTES = (1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 48, 56, 64, 96)


@dataclass(frozen=True)
class Recipe:
    """faiss's factory string, the cells searched for a query, and the candidates ranked anew a result."""

    factory: str
    nprobe: int = 0
    rerank: int = 0

    @property
    def exact(self) -> bool:
        """Every listing is compared with every query."""
        return self.factory == "Flat"


def choose_recipe(listings: int, dimensions: int, config: ProductIndexConfig) -> Recipe:
    """The recipe for this many vectors; what the profile leaves null is derived.

    nlist: the power of two nearest to 4 √N, lowered until a cell has 39 vectors to learn from. code_bytes:
    the largest number that divides the dimensions, at most a quarter of them, 96 at most, one that a GPU
    knows where that is not half as many. nprobe: nlist / 64, at least 8. Raises SearchError for IVF-PQ with
    too few listings, or code bytes that do not divide the dimensions.
    """
    if config.kind == "flat" or (config.kind == "auto" and listings <= config.flat_up_to):
        return Recipe("Flat")
    if listings < _LEAST_FOR_CODES:
        raise SearchError(
            f"product_index.kind ivf_pq needs at least {_LEAST_FOR_CODES:,} listings to learn its codes "
            f"from, there are {listings:,}: use auto or flat"
        )
    nlist = config.nlist
    if nlist is None:
        nlist = 2 ** round(math.log2(4 * math.sqrt(listings)))
        while nlist * _LEAST_A_CELL > listings:
            nlist //= 2
    elif nlist * _LEAST_A_CELL > listings:
        raise SearchError(
            f"product_index.nlist {nlist:,} leaves fewer than {_LEAST_A_CELL} of {listings:,} listings a cell"
        )
    code_bytes = config.code_bytes or _code_bytes(dimensions)
    if dimensions % code_bytes:
        raise SearchError(f"product_index.code_bytes {code_bytes} does not divide {dimensions} dimensions")
    rotation = f"OPQ{code_bytes}," if config.opq else ""
    nprobe = min(nlist, config.nprobe or max(8, nlist // 64))
    return Recipe(f"{rotation}IVF{nlist},PQ{code_bytes}", nprobe, config.rerank)


def fill(recipe: Recipe, vectors: np.ndarray, device: str) -> faiss.Index:
    """A trained index on the CPU that holds these float32 vectors (N, D), compared by inner product.

    On a CUDA device k-means, codes and the adding of vectors run there where faiss has its GPU part.
    """
    index = faiss.index_factory(vectors.shape[1], recipe.factory, faiss.METRIC_INNER_PRODUCT)
    if recipe.exact:
        index.add(vectors)
        return index
    work = to_gpu(index) if device.startswith("cuda") else index
    cells = faiss.extract_index_ivf(index).nlist
    work.train(_sample(vectors, max(cells * _TRAINED_A_CELL, _LEAST_FOR_CODES)))
    work.add(vectors)
    return index if work is index else faiss.index_gpu_to_cpu(work)


def to_gpu(index: faiss.Index) -> faiss.Index:
    """The index on the first GPU; as it is where faiss was built without GPUs or sees none."""
    if not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
        logger.warning("this faiss has no GPU part or sees no GPU: the index is on the CPU")
        return index
    options = faiss.GpuClonerOptions()
    options.useFloat16 = True  # of the lookup tables: codes of over 48 bytes do not fit otherwise
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index, options)


def _sample(vectors: np.ndarray, most: int) -> np.ndarray:
    if len(vectors) <= most:
        return vectors
    rows = np.random.default_rng(0).choice(len(vectors), most, replace=False)
    return vectors[np.sort(rows)]


def _code_bytes(dimensions: int) -> int:
    most = max(1, min(96, dimensions // 4))
    fitting = [count for count in range(1, most + 1) if dimensions % count == 0]
    on_gpu = max(count for count in fitting if count in _GPU_CODE_BYTES)
    return on_gpu if on_gpu * 2 > max(fitting) else max(fitting)
