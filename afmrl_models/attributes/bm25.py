"""BM25 between the attribute texts of a batch, with the statistics of the whole training catalog."""

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
import regex
import torch
from scipy import sparse

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\u30fc\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = r"\p{L}\p{M}\p{N}"
_PART = rf"(?:(?![{_UNSPACED}])[{_WORD}])+"
_RUN = regex.compile(
    rf"[{_UNSPACED}](?:[{_UNSPACED}]|\p{{M}})*|{_PART}(?:(?<=\p{{N}})[.,](?=\p{{N}}){_PART})*"
)
_ASCII_RUN = re.compile(r"[a-z0-9]+(?:(?<=[0-9])[.,](?=[0-9])[a-z0-9]+)*")
_IS_UNSPACED = regex.compile(rf"[{_UNSPACED}]")
_CANDIDATE_BLOCK = 4096


def tokenize(text: str) -> list[str]:
    """Split a text into terms, in order and with repetitions (NFKC, case folded).

    Words are runs of letters, marks and digits; a point or comma between digits stays (`1.5l`). Scripts
    written without spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) give overlapping pairs
    of characters, a lone character itself, as Lucene's CJKAnalyzer does; a vowel sign or tone mark stays with
    its consonant.
    """
    if text.isascii():
        return _ASCII_RUN.findall(text.lower())
    terms: list[str] = []
    for run in _RUN.findall(unicodedata.normalize("NFKC", text).casefold()):
        if not _IS_UNSPACED.match(run):
            terms.append(run)
            continue
        characters = regex.findall(r"\X", run)
        terms += [a + b for a, b in itertools.pairwise(characters)] or characters
    return terms


class BM25:
    """Scores documents of one collection against each other.

    Lucene's BM25 (version 8 and later; `method="lucene"` of bm25s), after Robertson and Zaragoza 2009:

        score(q, d) = Σ_{t in q} idf(t) · tf(t, d) / (tf(t, d) + k1 · (1 - b + b · |d| / mean |d|))
        idf(t)      = ln(1 + (N - n(t) + 0.5) / (n(t) + 0.5))

    N, n and the mean length are those of all `documents`; a term that a query repeats counts each time. The
    constant factor k1 + 1 of older formulations is left out, as in Lucene. An empty text scores 0 with
    everything.
    """

    def __init__(self, documents: Sequence[str], k1: float = 1.2, b: float = 0.75) -> None:
        if len(documents) == 0:
            raise ValueError("BM25 needs at least one document")
        if k1 < 0 or not 0 <= b <= 1:
            raise ValueError(f"BM25 needs k1 >= 0 and 0 <= b <= 1, not k1={k1}, b={b}")
        self.k1, self.b = k1, b
        self._counts = _count_terms(documents)
        documents_with_term = np.bincount(self._counts.indices, minlength=self._counts.shape[1])
        self.idf = np.log1p((len(documents) - documents_with_term + 0.5) / (documents_with_term + 0.5))
        lengths = np.asarray(self._counts.sum(axis=1), dtype=np.float64).ravel()
        saturation = k1 * (1 - b + b * lengths / max(lengths.mean(), 1e-12))
        frequency = self._counts.data.astype(np.float64)
        rows = np.repeat(np.arange(len(documents)), np.diff(self._counts.indptr))
        weights = self.idf[self._counts.indices] * frequency / (frequency + saturation[rows])
        self._weights = sparse.csr_array(
            (weights.astype(np.float32), self._counts.indices, self._counts.indptr), shape=self._counts.shape
        )

    def __len__(self) -> int:
        return int(self._counts.shape[0])

    def scores(self, queries: Sequence[int], candidates: Sequence[int]) -> torch.Tensor:
        """Score documents `candidates` (D numbers) for `queries` (Q numbers): float32 (Q, D), on the CPU.

        Raises IndexError on a number that is not one of the documents'.
        """
        asked, answering = self._numbers(queries, "queries"), self._numbers(candidates, "candidates")
        counts = self._counts[asked]
        # The queries' own vocabulary, renumbered: its terms x candidates are few enough to be held densely.
        renumbered = np.full(self._counts.shape[1], -1, dtype=np.int64)
        renumbered[counts.indices] = 0
        terms = np.flatnonzero(renumbered == 0)
        renumbered[terms] = np.arange(len(terms))
        shape = (len(asked), len(terms))
        batch_counts = sparse.csr_array((counts.data, renumbered[counts.indices], counts.indptr), shape)
        scores = np.empty((len(asked), len(answering)), dtype=np.float32)
        for start in range(0, len(answering), _CANDIDATE_BLOCK):
            block = self._weights[answering[start : start + _CANDIDATE_BLOCK]]
            columns = renumbered[block.indices]
            known = columns >= 0
            rows = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
            weights = np.zeros((len(terms), block.shape[0]), dtype=np.float32)
            weights[columns[known], rows[known]] = block.data[known]
            scores[:, start : start + block.shape[0]] = batch_counts @ weights
        return torch.from_numpy(scores)

    def _numbers(self, numbers: Sequence[int], name: str) -> np.ndarray:
        array = np.asarray(numbers, dtype=np.int64).reshape(-1)
        outside = array[(array < 0) | (array >= len(self))]
        if outside.size:
            raise IndexError(f"{name}: document {outside[0]} does not exist, there are {len(self)}")
        return array


def _count_terms(documents: Sequence[str]) -> sparse.csr_array:
    vocabulary: dict[str, int] = {}
    indices: list[int] = []
    counts: list[int] = []
    ends = [0]
    for document in documents:
        for term, count in Counter(tokenize(document)).items():
            indices.append(vocabulary.setdefault(term, len(vocabulary)))
            counts.append(count)
        ends.append(len(indices))
    return sparse.csr_array(
        (np.asarray(counts, np.float32), np.asarray(indices, np.int64), np.asarray(ends, np.int64)),
        shape=(len(documents), max(len(vocabulary), 1)),
    )
