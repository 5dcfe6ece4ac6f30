"""The page of a decision: its numbers against slow loops, its empty states, no title taken for HTML."""

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from nights import SIZE, Nights, Shop, profile

from afmrl_models.catalog.evaluation_set import EvaluationSet
from afmrl_models.catalog.images import ImageStore, ImageStoreWriter
from afmrl_models.registry.models import ModelVersion
from afmrl_models.registry.promotion import Bench, Decision, Judgement, Pair, Side
from afmrl_models.registry.promotion.report import champion_report
from afmrl_models.registry.promotion.report.attribute_changes import attribute_changes
from afmrl_models.registry.promotion.report.forest import axis_of
from afmrl_models.registry.promotion.report.measures import LEAST_PRODUCTS, Line, by_category, rank_table
from afmrl_models.registry.promotion.rules import rulings
from afmrl_models.registry.tracking import Tracking
from afmrl_models.retrieval.evaluation import Evaluation
from afmrl_models.retrieval.metrics import per_query

QUERIES, DEPTH = 80, 10
TASK = "fine_grained"
TITLE = (
    '"><script src="http://evil.example/x.js">alert({})</script><img src=x onerror=alert(1)> {{{{ 7*7 }}}}'
)
VALUES = ["red", "blue", "\"a\" & 'b'", "grey < b"]


@dataclass
class Page(HTMLParser):
    """Tags, attributes and text of a page, as a browser reads it."""

    tags: Counter[str] = field(default_factory=Counter)
    attributes: list[tuple[str, str]] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def read(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.text = " ".join(page.text.split())
    return page


def demand_self_contained(page: Page) -> None:
    for name, value in page.attributes:
        if name in ("src", "href", "srcset", "action", "data", "poster"):
            assert value.startswith("data:image/jpeg;base64,"), (name, value[:80])
        assert not name.startswith("on"), name
    assert not {"script", "link", "iframe", "object", "form"} & page.tags.keys()


class Duel:
    """Two models that rank at random, on listings with hostile titles."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(3)
        ids = [f"q{i}" for i in range(QUERIES)] + [f"g{i}" for i in range(QUERIES)]
        products = [f"p{i // 2}" for i in range(QUERIES)] * 2
        categories = rng.choice(["shoes", "bags", "hats", None], QUERIES, p=[0.5, 0.3, 0.1, 0.1])  # type: ignore[arg-type]
        self.listings = pd.DataFrame(
            {
                "listing_id": ids,
                "product_id": products,
                "title": [TITLE.format(i) for i in ids],
                "category": list(categories) * 2,
            }
        )
        self.product = dict(zip(ids, products, strict=True))
        self.category = dict(zip(ids, [*categories, *categories], strict=True))
        with ImageStoreWriter(folder / "images", SIZE) as writer:
            for listing_id in ids:
                writer.add(listing_id, rng.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8))
        roles = ["query"] * QUERIES + ["gallery"] * QUERIES
        self.frozen = EvaluationSet(
            listings=self.listings,
            splits=pd.DataFrame({"listing_id": ids, "split": "test", "role": roles}),
            images=ImageStore.open(folder / "images"),
            digest="abc123abc123",
            frozen_at="2026-11-01T03:00:00+00:00",
        )
        self.lists = [self._lists(rng) for _ in range(2)]
        self.written = [self._written(rng) for _ in range(2)]
        self.bench = Bench(
            profile(max_regression=0.1).model_copy(
                update={"evaluation": profile().evaluation.model_copy(update={"ks": [1, 5, 10]})}
            ),
            Tracking(None, folder, "shop"),
            self.frozen,
            "cpu",
            folder,
        )
        self.champion, self.challenger = (self._evaluation(lists) for lists in self.lists)

    def _lists(self, rng: np.random.Generator) -> dict[str, list[str]]:
        gallery = self.listings["listing_id"].tolist()[QUERIES:]
        lists = {}
        for i in range(QUERIES):
            score = rng.random(QUERIES)
            score[[i, i ^ 1]] += 0.2  # the right ones
            lists[f"q{i}"] = [gallery[j] for j in np.argsort(-score)]
        return lists

    def _evaluation(self, lists: dict[str, list[str]]) -> Evaluation:
        top = {query: found[:DEPTH] for query, found in lists.items()}
        relevant = {q: {g for g in found if self.product[g] == self.product[q]} for q, found in lists.items()}
        scores = per_query(top, relevant, [1, 5, 10])
        frame = scores.reset_index()
        frame.insert(0, "task", TASK)
        frame["product_id"] = frame["query_id"].map(self.product)
        ranked = pd.DataFrame(
            [
                (TASK, query, rank, found, 1 / rank, found in relevant[query])
                for query, top_of in top.items()
                for rank, found in enumerate(top_of, start=1)
            ],
            columns=["task", "query_id", "rank", "listing_id", "score", "relevant"],
        )  # fmt: skip
        metrics = {f"{TASK}/{name}": float(value) for name, value in scores.mean().items()}
        return Evaluation(metrics, {}, frame, ranked, {"downstream": "too few labels"})

    def _written(self, rng: np.random.Generator) -> pd.DataFrame:
        rows = []
        for i in range(QUERIES):
            valid = rng.random() > 0.1
            pairs = {k: VALUES[rng.integers(4)] for k in ("colour", "size", "trim") if rng.random() > 0.3}
            valid = valid and bool(pairs)
            text = "; ".join(f"{k}: {v}" for k, v in pairs.items()) if valid else "nonsense"
            rows.append((f"q{i}", text, pairs if valid else None, valid))
        return pd.DataFrame(rows, columns=["listing_id", "attributes_text", "attributes", "valid"])

    def rank(self, side: int, query: str) -> int:
        """Of the first right listing; 11: beyond the top."""
        for rank, found in enumerate(self.lists[side][query][:DEPTH], start=1):
            if self.product[found] == self.product[query]:
                return rank
        return DEPTH + 1

    def report(self) -> str:
        pairs = [
            Pair(ModelVersion("shop-embedder", n, "", ""), ModelVersion("shop-generator", n, "", ""))
            for n in (1, 2)
        ]
        rules = tuple(rulings(self.bench.profile.champion, self.challenger, self.champion, 200, 0))
        decision = Decision(
            "kept", "x", pairs[1].name, pairs[0].name, pairs[0].name, "champion", self.frozen.digest,
            "2026-11-24T03:20:00+00:00", rules,
        )  # fmt: skip
        sides = [
            Side(pair, evaluation, written)
            for pair, evaluation, written in zip(
                pairs, (self.champion, self.challenger), self.written, strict=True
            )
        ]
        return champion_report(Judgement(decision, pairs[1], pairs[0], sides[1], sides[0]), self.bench)


@pytest.fixture(scope="module")
def duel(tmp_path_factory: pytest.TempPathFactory) -> Duel:
    return Duel(tmp_path_factory.mktemp("duel"))


def test_queries_won_and_lost_are_those_of_a_slow_loop(duel: Duel) -> None:
    won = lost = same = 0
    moves: Counter[tuple[str, str]] = Counter()

    def band(rank: int) -> str:
        return "1" if rank == 1 else "2–5" if rank <= 5 else "6–10" if rank <= 10 else "beyond 10"

    for i in range(QUERIES):
        before, after = duel.rank(0, f"q{i}"), duel.rank(1, f"q{i}")
        moves[band(before), band(after)] += 1
        if after < before:
            won += 1
        elif after > before:
            lost += 1
        else:
            same += 1
    assert min(won, lost) > 20  # more than are shown
    page = read(duel.report())
    assert f"{won} queries won {lost} lost {same} at the same rank" in page.text
    assert f"Won: {won} " in page.text and f"Lost: {lost} " in page.text
    assert f"The 20 that moved furthest; {won - 20} more are not shown." in page.text
    table = rank_table(TASK, duel.challenger, duel.champion, [1, 5, 10])
    assert {
        (a, b): table.counts[i][j]
        for i, a in enumerate(table.bands)
        for j, b in enumerate(table.bands)
        if table.counts[i][j]
    } == dict(moves)


def test_the_largest_moves_come_first_with_what_each_model_found_first(duel: Duel) -> None:
    html = duel.report()
    shown = re.findall(r'<strong class="ranks (better|worse)">.*?</strong>.*?<code>(\w+)</code>', html)
    assert len(shown) == 40

    def reciprocal(side: int, query: str) -> float:
        rank = duel.rank(side, query)
        return 1 / rank if rank <= DEPTH else 0.0

    for kind, sign in (("better", 1), ("worse", -1)):
        moves = [sign * (reciprocal(1, query) - reciprocal(0, query)) for how, query in shown if how == kind]
        assert moves == sorted(moves, reverse=True) and moves[-1] > 0
        missed = [
            sign * (reciprocal(1, f"q{i}") - reciprocal(0, f"q{i}"))
            for i in range(QUERIES)
            if f"q{i}" not in {query for _, query in shown}
        ]
        assert max(missed) <= moves[-1]
    article = next(part for part in html.split("<article")[1:] if f"<code>{shown[0][1]}</code>" in part)
    titles = re.findall(r'<img [^>]* title="([^"]*)"', article)
    first = [duel.lists[side][shown[0][1]][0] for side in (0, 1)]
    for title, listing_id in zip(titles, [shown[0][1], *first], strict=False):
        assert f"alert({listing_id})" in title


def test_categories_are_compared_as_a_slow_loop_does(duel: Duel) -> None:
    lines = {
        line.label: line
        for line in by_category(
            TASK, "recall_at_1", duel.challenger, duel.champion, duel.listings, 200, 0, most=2
        )
    }
    assert list(lines) == ["shoes", "bags", "1 other categories", "(no category)"]
    named = {"shoes": "shoes", "bags": "bags", "1 other categories": "hats", "(no category)": None}
    for label, category in named.items():
        queries = [f"q{i}" for i in range(QUERIES) if duel.category[f"q{i}"] == category]
        hits = [[duel.rank(side, query) == 1 for query in queries] for side in (0, 1)]
        line = lines[label]
        assert line.queries == len(queries)
        assert line.champion == pytest.approx(sum(hits[0]) / len(queries))
        assert line.difference == pytest.approx((sum(hits[1]) - sum(hits[0])) / len(queries))
        enough = len({duel.product[query] for query in queries}) >= LEAST_PRODUCTS
        assert (line.low is not None) is enough
        if line.low is not None and line.high is not None:
            assert line.low <= line.difference <= line.high


def test_attribute_changes_are_those_of_a_slow_loop(duel: Duel) -> None:
    found = attribute_changes(*duel.written, duel.listings)
    exchanges: Counter[tuple[str, str | None, str | None]] = Counter()
    differ = 0
    for i in range(QUERIES):
        was, now = ((table["attributes"][i] or {}) for table in duel.written)
        differ += was != now
        for key in ("colour", "size", "trim"):
            if was.get(key) != now.get(key):
                exchanges[key, was.get(key), now.get(key)] += 1
    assert (found.texts, found.differ, found.kinds) == (QUERIES, differ, len(exchanges))
    for key in found.keys:
        of_key = {(a, b): n for (k, a, b), n in exchanges.items() if k == key.key}
        assert key.differ == sum(of_key.values())
        assert key.added == sum(n for (a, _), n in of_key.items() if a is None)
        assert key.dropped == sum(n for (_, b), n in of_key.items() if b is None)
        assert key.said_champion == sum(key.key in (pairs or {}) for pairs in duel.written[0]["attributes"])
    shown = found.exchanges.to_dict("records")
    assert [row["listings"] for row in shown] == [n for _, n in exchanges.most_common(15)]
    assert found.champion["valid"] == pytest.approx(np.mean(duel.written[0]["valid"]))


def test_the_page_needs_nothing_else_and_takes_no_title_for_html(duel: Duel) -> None:
    html = duel.report()
    page = read(html)
    demand_self_contained(page)
    assert page.tags["img"] > 100 and page.tags["svg"] > 5
    assert "evil.example" in page.text  # as text
    assert "{{ 7*7 }}" in page.text and "\"a\" & 'b'" in page.text
    assert len(html) < 2_000_000
    assert "no such version" in page.text or "not found" in page.text  # nothing of them is registered
    assert "downstream is left out: too few labels" in page.text


def test_the_axis_of_the_forest_holds_all_but_a_far_limit() -> None:
    lines = [Line("a", 0.5, 0.6, 0.1, -0.05, 0.2, 9, limit=-0.25), Line("b", 0.5, 0.4, -0.1)]
    axis = axis_of(lines)
    places = [axis.place(value) for value in (-0.25, -0.1, -0.05, 0, 0.1, 0.2)]
    assert places == sorted(places) and places[0] >= 0 and places[3] == 50 and places[-1] <= 100
    assert all(axis.holds(tick) for tick in axis.ticks) and 0 in axis.ticks and len(axis.ticks) >= 3
    lenient = axis_of([replace(lines[0], limit=-1.0)])
    assert not lenient.holds(-1.0) and lenient.extent == 0.2


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("shop"))


def test_every_outcome_has_a_page_on_the_version(shop: Shop, tmp_path: Path) -> None:
    nights = Nights(shop, tmp_path)
    baseline, first = nights.register("embedder", 1), nights.pair()
    nights.judge(first, nights.shown(first), baseline)
    page = read(nights.page())
    demand_self_contained(page)
    assert "Promoted: the first champion. There was none before" in page.text
    assert "shop-embedder/1, the baseline, for want of a champion" in page.text
    assert "settings that differ seed 1 0" in page.text  # baseline, challenger
    assert "There are no two generators to compare" in page.text

    client = nights.tracking.client
    version = client.get_model_version("shop-embedder", str(first.embedder.version))
    assert version.tags["afmrl.report"] == "http://runs/1/artifactPath/champion-versus-challenger.html"
    assert version.tags["afmrl.report"] in version.description
    kept = Path(client.get_logged_model(first.embedder.model_id).artifact_location.removeprefix("file://"))
    assert (kept / "champion-versus-challenger.html").read_text(encoding="utf-8") == nights.page()

    assert nights.judge(first, nights.shown(first)).decision.outcome == "unchanged"
    assert "Nothing to decide: the challenger is the champion already" in read(nights.page()).text

    second = nights.pair()
    nights.judge(second, nights.shown(second), require="better")
    page = read(nights.page())
    assert "Not promoted: the champion stays. 1 of 1 rules is broken." in page.text
    assert "0 queries won 0 lost" in page.text and "Trained with the same settings." in page.text
    assert page.text.count("shop-embedder/2 with shop-generator/1") >= 2  # among the nights, too

    third = nights.pair()
    (nights.files(third.embedder) / "model.safetensors").unlink()
    nights.judge(third, nights.shown(third))
    page = read(nights.page())
    demand_self_contained(page)
    assert "Refused: the challenger cannot be trusted, so it was not compared" in page.text
    assert "its files are not those that were registered" in page.text and not page.tags["svg"]

    (nights.files(first.embedder) / "model.safetensors").unlink()
    nights.judge(second, nights.shown(second))
    assert "Nothing was compared or promoted" in read(nights.page()).text
