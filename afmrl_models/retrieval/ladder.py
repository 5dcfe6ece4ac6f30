"""The ladder: which row adds what to which other row."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

BASELINE = "baseline"
_ROUND_0 = ("agcl", "agcl_distilled")
_OF_A_ROUND = ("afmrl", "afmrl_cit")
_PLAIN_BOTH = "baseline_distilled_both"
GALLERY_TOO = "attributes at the gallery, too"


@dataclass(frozen=True)
class Rung:
    """What `row` gains over `over`.

    kind: `rung` (one step of the method), `all` (the method against plain InfoNCE), or `beside` (a question
    next to the ladder).
    """

    row: str
    over: str
    adds: str
    kind: Literal["rung", "all", "beside"]

    @property
    def name(self) -> str:
        """Such as `agcl - baseline`; MLflow's metric names can hold it."""
        return f"{self.row} - {self.over}"


def ladder_rows(names: Collection[str]) -> list[str]:
    """The rows of the ladder among these, from the baseline to the last round."""
    rounds = [name for number in range(1, len(names) + 1) for name in _names_of(number)]
    return [name for name in (BASELINE, *_ROUND_0, *rounds) if name in names]


def rungs_of(names: Collection[str]) -> list[Rung]:
    """The comparisons these rows allow, rungs first; a rung whose row was not measured is left out."""
    rungs = [
        Rung("agcl", BASELINE, "AGCL's weights", "rung"),
        Rung("agcl_distilled", "agcl", "distilled attributes", "rung"),
    ]
    whole = []
    before = "agcl_distilled"
    for number in range(1, len(names) + 1):
        afmrl, cit = _names_of(number)
        rungs += [
            Rung(afmrl, before, "RAR" if number == 1 else f"RAR, round {number}", "rung"),
            Rung(cit, afmrl, "CIT" if number == 1 else f"CIT, round {number}", "rung"),
        ]
        whole += [
            Rung(afmrl, BASELINE, f"all up to {afmrl}", "all"),
            Rung(cit, BASELINE, f"all up to {cit}", "all"),
        ]
        before = cit
    beside = [
        Rung("baseline_distilled", BASELINE, "distilled attributes without AGCL", "beside"),
        Rung("agcl_distilled", "baseline_distilled", "AGCL's weights, with attributes", "beside"),
        Rung(_PLAIN_BOTH, BASELINE, "distilled attributes on both sides without AGCL", "beside"),
        Rung("agcl_distilled_both", _PLAIN_BOTH, "AGCL's weights, with attributes on both sides", "beside"),
        Rung("oracle", "agcl", "true attributes", "beside"),
    ]
    for name in names:
        if name.endswith("_both"):
            beside.append(Rung(name, name.removesuffix("_both"), GALLERY_TOO, "beside"))
            if name != _PLAIN_BOTH and not name.startswith("oracle"):
                beside.append(Rung(name, BASELINE, f"all up to {name}", "beside"))
        elif name.endswith("_query"):
            beside.append(Rung(name.removesuffix("_query"), name, GALLERY_TOO, "beside"))
    return [rung for rung in (*rungs, *whole, *beside) if rung.row in names and rung.over in names]


def _names_of(number: int) -> tuple[str, str]:
    suffix = "" if number == 1 else f"_{number}"
    first, second = _OF_A_ROUND
    return first + suffix, second + suffix
