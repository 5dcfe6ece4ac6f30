"""How far written attributes agree with what is stated, and what another round of them changed."""

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from afmrl_models.attributes.grammar import clean

Pairs = Mapping[str, str]


def agreement(written: pd.DataFrame, listings: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Compare per key on the listings present in both tables; invalid texts say nothing.

    Both tables hold `listing_id` and `attributes`. A value is right when it is the stated one but for case.
    Returns one row a key: `key`, `stated` and `written` (listings), `accuracy` (right of those both stated
    and written), `precision` (right of those written, stated or not), `recall` (right of those stated),
    `said` (share of all listings) and `distinct` (values written). A share of nothing is None; so is
    `precision` where nobody states the key, for then nothing could be right.
    """
    pairs = _both(written, listings)
    rows = []
    for key in keys:
        said = [(w[key], t.get(key)) for w, t in pairs if key in w]
        stated = sum(key in t for _, t in pairs)
        right = sum(value == truth for value, truth in said)
        rows.append(
            {
                "key": key,
                "stated": stated,
                "written": len(said),
                "accuracy": _share(right, sum(truth is not None for _, truth in said)),
                "precision": _share(right, len(said)) if stated else None,
                "recall": _share(right, stated),
                "said": _share(len(said), len(pairs)),
                "distinct": len({value for value, _ in said}),
            }
        )
    columns = ["key", "stated", "written", "accuracy", "precision", "recall", "said", "distinct"]
    return pd.DataFrame(rows, columns=columns)


def exact_match(written: pd.DataFrame, listings: pd.DataFrame, keys: Sequence[str]) -> float | None:
    """Share of listings that say just what is stated of `keys`, no more, no less; None: none states any."""
    wanted = [
        ({k: w[k] for k in keys if k in w}, {k: t[k] for k in keys if k in t})
        for w, t in _both(written, listings)
    ]
    stated = [said == truth for said, truth in wanted if truth]
    return _share(sum(stated), len(stated))


def lengths(written: pd.DataFrame) -> dict[str, float]:
    """Of a non-empty table: share of valid texts; characters a text, and pairs a valid text, on average."""
    pairs = [len(value) for value in written["attributes"] if value]
    return {
        "texts": float(len(written)),
        "valid": float(written["valid"].mean()),
        "characters": float(written["attributes_text"].str.len().mean()),
        "pairs": sum(pairs) / len(pairs) if pairs else 0.0,
    }


def changes(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """What two rounds say differently of the same listings, the commonest first.

    Returns `change` (added, dropped, changed), `key`, `before` and `after` (values, None where unsaid), and
    `listings`. An invalid text says nothing.
    """
    both = before.merge(after, on="listing_id", suffixes=("_before", "_after"))
    counts: Counter[tuple[str, str, str | None, str | None]] = Counter()
    for old, new in zip(both["attributes_before"], both["attributes_after"], strict=True):
        was, now = old or {}, new or {}
        for key in dict.fromkeys([*was, *now]):
            if was.get(key) != now.get(key):
                kind = "added" if key not in was else "dropped" if key not in now else "changed"
                counts[kind, key, was.get(key), now.get(key)] += 1
    rows = sorted(counts.items(), key=lambda item: (-item[1], tuple(map(str, item[0]))))
    columns = list(zip(*((*change, listings) for change, listings in rows), strict=True)) or [()] * 5
    names = ["change", "key", "before", "after", "listings"]
    return pd.DataFrame(
        {
            name: pd.Series(list(column), dtype=int if name == "listings" else object)
            for name, column in zip(names, columns, strict=True)
        }
    )


def _both(written: pd.DataFrame, listings: pd.DataFrame) -> list[tuple[Pairs, Pairs]]:
    """Written and stated pairs of each listing in both tables, cleaned and case-folded."""
    both = written.merge(
        listings[["listing_id", "attributes"]], on="listing_id", suffixes=("_written", "_stated")
    )
    return [
        tuple({key: value.casefold() for key, value in clean(pairs or {}).items()} for pairs in row)  # type: ignore[misc]
        for row in zip(both["attributes_written"], both["attributes_stated"], strict=True)
    ]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
