"""The page: what is said of a judgement, with photos, put into a template of one self-contained file."""

from collections.abc import Mapping, Sequence
from typing import Any

from afmrl_models.attributes.grammar import parse
from afmrl_models.catalog.inline_photo import inline_photo
from afmrl_models.registry.promotion.decision import Decision, Judgement
from afmrl_models.registry.promotion.pair import Pair
from afmrl_models.registry.promotion.report.attribute_changes import attribute_changes
from afmrl_models.registry.promotion.report.forest import axis_of
from afmrl_models.registry.promotion.report.lineage import differing, lineage
from afmrl_models.registry.promotion.report.measures import by_category, by_task, rank_table
from afmrl_models.registry.promotion.resolution import passes_when_equal, resolution
from afmrl_models.registry.promotion.sides import Bench, Side, judged_by
from afmrl_models.retrieval.moved_queries import MovedQuery, moved_queries
from afmrl_models.retrieval.pages import templates
from afmrl_models.retrieval.tasks import TASKS

REPORT = "champion-versus-challenger.html"
_QUERIES, _NIGHTS, _SETTINGS = 20, 14, 60  # shown at most; queries: of the won and of the lost
_OPEN = 6  # queries seen before a person asks for the rest of them
_PHOTO_EDGE = 160
_LONGEST = {"title": 160, "text": 600, "setting": 200}


def champion_report(judgement: Judgement, bench: Bench, history: Sequence[Mapping[str, Any]] = ()) -> str:
    """HTML that needs no other file and names no address; catalog text is escaped.

    history: earlier events of the champion's history; decisions on the same evaluation set are listed.
    """
    environment = templates("afmrl_models.registry.promotion.report")
    environment.filters |= {"cut": _cut}
    decision, images = judgement.decision, bench.frozen.images
    titles = dict(zip(bench.frozen.listings["listing_id"], bench.frozen.listings["title"], strict=True))

    def photo(listing_id: str) -> str:
        return inline_photo(images.get(listing_id), _PHOTO_EDGE)

    return environment.get_template("page.html.jinja").render(
        profile=bench.profile.name,
        decision=decision,
        opponent=judgement.opponent.name,
        headline=_headline(decision),
        frozen=bench.frozen,
        rules=bench.profile.champion,
        resolution=resolution(decision.rules),
        passes_when_equal=passes_when_equal,
        roles=_roles(judgement, bench),
        most_settings=_SETTINGS,
        photo=photo,
        titles=titles,
        tasks=TASKS,
        nights=_nights(history, decision),
        **_comparison(judgement, bench),
    )


def _headline(decision: Decision) -> str:
    stood_in = decision.against == "baseline"
    broken = sum(not rule.passed for rule in decision.rules)
    match decision.outcome:
        case "promoted" if stood_in:
            return (
                "Promoted: the first champion. There was none before, so the night's own baseline stood in "
                "for it, and every rule holds against that."
            )
        case "promoted":
            return "Promoted: the challenger is the new champion, for every rule holds."
        case "kept":
            said = f"{broken} of {len(decision.rules)} rules {'is' if broken == 1 else 'are'} broken."
            if stood_in:
                return (
                    f"Not promoted: {said} There was no champion before, so the night's own baseline stood "
                    "in for it, and becomes the first one."
                )
            return f"Not promoted: the champion stays. {said}"
        case "refused":
            return "Refused: the challenger cannot be trusted, so it was not compared. The champion stays."
        case "unusable champion":
            return "Nothing was compared or promoted: what the challenger is held against cannot be loaded."
        case "unchanged":
            return "Nothing to decide: the challenger is the champion already."


def _roles(judgement: Judgement, bench: Bench) -> list[dict[str, Any]]:
    """Embedder and generator: where both sides' versions come from, and the settings that differ."""
    roles = []
    for role in ("embedder", "generator"):
        sides = [getattr(pair, role) for pair in (judgement.opponent, judgement.pair)]
        origins = [None if version is None else lineage(bench.tracking, version) for version in sides]
        known = [origin for origin in origins if origin is not None and not origin.unknown]
        settings = differing(*known) if len(known) == 2 else None
        roles.append({"role": role, "origins": origins, "settings": settings})
    return roles


def _comparison(judgement: Judgement, bench: Bench) -> dict[str, Any]:
    """Everything that needs both sides measured; `compared` False where one was not."""
    challenger, champion = judgement.challenger, judgement.champion
    if challenger is None or champion is None:
        return {"compared": False}
    profile, listings = bench.profile, bench.frozen.listings
    asked, seed, rules = judged_by(profile), profile.seeds[0], profile.champion
    theirs, ours = challenger.evaluation, champion.evaluation
    measures = by_task(asked, rules, theirs, ours, seed)
    categories = by_category(rules.task, rules.metric, theirs, ours, listings, asked.bootstrap, seed)
    moved = moved_queries(ours, theirs, champion.texts, challenger.texts, listings, rules.task)
    won, lost = ([row for row in moved if row.better is better] for better in (True, False))
    return {
        "compared": True,
        "measures": measures,
        "metrics_axis": axis_of(line for lines in measures.lines.values() for line in lines),
        "categories": categories,
        "categories_axis": axis_of(categories),
        "ranks": rank_table(rules.task, theirs, ours, asked.ks),
        "won": won,
        "lost": lost,
        "most_queries": _QUERIES,
        "open_queries": _OPEN,
        "marked": _marked,
        "shows": {"champion": _shows(judgement.opponent), "challenger": _shows(judgement.pair)},
        "changes": _changes(champion, challenger, bench),
    }


def _changes(champion: Side, challenger: Side, bench: Bench) -> Any:
    if champion.written is None or challenger.written is None:
        return None
    return attribute_changes(champion.written, challenger.written, bench.frozen.listings)


def _shows(pair: Pair) -> str:
    return "title alone" if pair.generator is None else "no valid text"


def _marked(row: MovedQuery, after: bool) -> list[tuple[str, bool]]:
    """The pairs of one side's text, each with whether the other side reads another one in its place, or none.

    False where the other side reads no text at all.
    """
    texts = (row.text_after, row.text_before) if after else (row.text_before, row.text_after)
    own, other = (parse(text) if text else {} for text in texts)
    return [(f"{key}: {value}", bool(other) and other.get(key) != value) for key, value in own.items()]


def _nights(history: Sequence[Mapping[str, Any]], decision: Decision) -> dict[str, Any]:
    """Decisions on this evaluation set that had numbers, the newest first, this one among them."""
    events = [
        {**event, "own": event["rules"][0]}
        for event in [*history, decision.as_dict()]
        if event.get("evaluation_set") == decision.evaluation_set
        and event.get("rules")
        and event["rules"][0].get("difference") is not None
    ][::-1]
    return {"shown": events[:_NIGHTS], "left_out": max(0, len(events) - _NIGHTS)}


def _cut(text: object, kind: str = "title") -> str:
    """On one line, of bounded length."""
    line, longest = " ".join(str(text).split()), _LONGEST[kind]
    return line if len(line) <= longest else line[: longest - 1] + "…"
