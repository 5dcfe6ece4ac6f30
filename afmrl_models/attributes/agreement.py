"""How far written attributes agree with what sellers state."""

from collections.abc import Sequence

import pandas as pd

from afmrl_models.attributes.grammar import clean


def agreement(written: pd.DataFrame, listings: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Compare per key on the listings present in both tables; invalid texts say nothing.

    Returns one row a key: `key`, `stated` (listings whose seller states it), `written` (of all), `accuracy`
    (share of the stated ones where the written value is the same; None where nobody states the key) and
    `precision` (share of the written ones, among the stated, that are the same; None where none is written).
    """
    both = written.merge(
        listings[["listing_id", "attributes"]], on="listing_id", suffixes=("_written", "_stated")
    )
    said = [value or {} for value in both["attributes_written"]]
    truth = [clean(value or {}) for value in both["attributes_stated"]]
    rows = []
    for key in keys:
        stated = [(w.get(key), t[key]) for w, t in zip(said, truth, strict=True) if key in t]
        same = sum(w == t for w, t in stated)
        answered = sum(w is not None for w, _ in stated)
        rows.append(
            {
                "key": key,
                "stated": len(stated),
                "written": sum(key in w for w in said),
                "accuracy": same / len(stated) if stated else None,
                "precision": same / answered if answered else None,
            }
        )
    return pd.DataFrame(rows, columns=["key", "stated", "written", "accuracy", "precision"])
