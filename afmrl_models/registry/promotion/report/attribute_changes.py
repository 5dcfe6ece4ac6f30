"""What two generators say differently of the same listings."""

from dataclasses import dataclass

import pandas as pd

from afmrl_models.attributes.agreement import changes, lengths


@dataclass(frozen=True)
class KeyChange:
    """One key. said: texts with it, of each; then texts whose value is another, is new, or is gone."""

    key: str
    said_champion: int
    said_challenger: int
    changed: int
    added: int
    dropped: int

    @property
    def differ(self) -> int:
        """Texts that say something else, or no longer nothing."""
        return self.changed + self.added + self.dropped


@dataclass(frozen=True)
class Example:
    """A listing, and (key, champion's value, challenger's value) of all pairs; None where unsaid."""

    listing_id: str
    title: str
    pairs: list[tuple[str, str | None, str | None]]


@dataclass(frozen=True)
class AttributeChanges:
    """texts: listings in both tables; differ: those whose pairs differ. An invalid text says nothing.

    champion, challenger: share of valid texts, characters and pairs a text (`agreement.lengths`).
    exchanges: change, key, before, after, listings; the commonest first, of `kinds` different ones.
    """

    texts: int
    differ: int
    champion: dict[str, float]
    challenger: dict[str, float]
    keys: list[KeyChange]
    exchanges: pd.DataFrame
    kinds: int
    examples: list[Example]


def attribute_changes(
    champion: pd.DataFrame,
    challenger: pd.DataFrame,
    listings: pd.DataFrame,
    *,
    most_exchanges: int = 15,
    most_examples: int = 12,
) -> AttributeChanges:
    """Compare two PRODUCT_ATTRIBUTES tables of the same listings (those in both count; at least one).

    Examples: the listings with most differing pairs, then by id.
    """
    both = champion.merge(challenger, on="listing_id", suffixes=("_before", "_after"))
    olds, news = ([pairs or {} for pairs in both[f"attributes_{when}"]] for when in ("before", "after"))
    found = changes(champion, challenger)
    by_key = found.groupby(["key", "change"])["listings"].sum()
    keys = list(dict.fromkeys(key for pairs in (*olds, *news) for key in pairs))
    differing = [
        sum(was.get(key) != now.get(key) for key in {*was, *now}) for was, now in zip(olds, news, strict=True)
    ]
    order = sorted(range(len(both)), key=lambda i: (-differing[i], both["listing_id"][i]))
    titles = dict(zip(listings["listing_id"], listings["title"], strict=True))
    ids = list(both["listing_id"])
    return AttributeChanges(
        texts=len(both),
        differ=sum(count > 0 for count in differing),
        champion=lengths(champion),
        challenger=lengths(challenger),
        keys=sorted(
            (
                KeyChange(
                    key=key,
                    said_champion=sum(key in pairs for pairs in olds),
                    said_challenger=sum(key in pairs for pairs in news),
                    **{kind: int(by_key.get((key, kind), 0)) for kind in ("changed", "added", "dropped")},
                )
                for key in keys
            ),
            key=lambda change: -change.differ,
        ),
        exchanges=found.head(most_exchanges),
        kinds=len(found),
        examples=[
            Example(
                ids[i],
                titles[ids[i]],
                [(key, olds[i].get(key), news[i].get(key)) for key in dict.fromkeys([*olds[i], *news[i]])],
            )
            for i in order[:most_examples]
            if differing[i]
        ],
    )
