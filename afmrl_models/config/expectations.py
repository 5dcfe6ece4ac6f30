"""What a data steward demands of product_attributes: one entry a rule, in a file of its own."""

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, field_validator, model_validator

from afmrl_models.config.strict import Strict

Severity = Literal["critical", "warning"]
Share = Annotated[float, Field(ge=0, le=1)]
GX = "gx"  # tag of the entries that name an expectation of Great Expectations itself


class Entry(Strict):
    """What every expectation has."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="of the check in the UI; no two share one")
    description: str = Field(min_length=1, description="in plain language, shown beside the check")
    severity: Severity = Field(
        "critical", description="critical: refuses the table and stops what follows; warning: says so"
    )


class OfCategories(Entry):
    """An expectation that may be limited to some categories."""

    categories: list[str] | None = Field(None, min_length=1, description="null: all of them")


class OfKeys(OfCategories):
    """An expectation of the values of some keys, each key judged by itself."""

    keys: list[str] | None = Field(None, min_length=1, description="null: those the prompt asks for")


class RowCount(OfCategories):
    """How many rows there are."""

    expect: Literal["row_count"]
    min: int = Field(1, ge=1)
    max: int | None = None


class TextsParse(OfCategories):
    """Share of texts that are marked valid and obey the grammar."""

    expect: Literal["texts_parse"]
    mostly: Share = 0.9


class TextsParseInCategories(OfCategories):
    """The same share within each category that has enough texts."""

    expect: Literal["texts_parse_in_categories"]
    mostly: Share = 0.5
    min_texts: int = Field(20, ge=1, description="smaller categories are left out")


class OneRowAListing(Entry):
    """Every row is of a listing of the catalog, and of another one."""

    expect: Literal["one_row_a_listing"]


class AllowedKeys(OfCategories):
    """Share of pairs whose key is allowed."""

    expect: Literal["allowed_keys"]
    keys: list[str] | None = Field(None, min_length=1, description="null: those the prompt asks for")
    mostly: Share = 0.98


class ValueLength(OfCategories):
    """Share of values of at most so many characters."""

    expect: Literal["value_length"]
    max: int = Field(80, ge=1)
    mostly: Share = 0.98


class RequiredKeys(OfCategories):
    """Share of listings that have each of these keys."""

    expect: Literal["required_keys"]
    keys: list[str] = Field(min_length=1)
    mostly: Share = 0.5


class Vocabulary(OfKeys):
    """Share of a key's values that are among those given, or among those the teacher uses."""

    expect: Literal["vocabulary"]
    values: list[str] | Literal["teacher"] = Field(
        "teacher",
        description="allowed values of one key; teacher: learned from its table of training listings",
    )
    min_listings: int = Field(1, ge=1, description="a value is learned if the teacher uses it so often")
    mostly: Share = 0.9

    @model_validator(mode="after")
    def _values_of_one_key(self) -> Self:
        if self.values != "teacher" and len(self.keys or ()) != 1:
            raise ValueError("values are given for one key: name it in keys")
        return self


class Measure(OfCategories):
    """Share of a key's values that are a number in a range with a known unit, such as 500 ml."""

    expect: Literal["measure"]
    key: str
    units: list[str] = Field(min_length=1, description="as written behind the number; '' is none")
    min: float | None = None
    max: float | None = None
    mostly: Share = 0.9


class Variety(OfKeys):
    """Share that a key's commonest value has of all its values: one value everywhere says nothing."""

    expect: Literal["variety"]
    max_share: Share = 0.9


class AgreesWithShop(OfKeys):
    """Share of values equal to what the shop states of the same listing, but for case."""

    expect: Literal["agrees_with_shop"]
    split: Literal["all", "train", "held_out"] = Field("all", description="which listings are compared")
    mostly: Share = 0.5


class AgreesWithinProduct(OfKeys):
    """Share of values equal to what the next offer of the same product says."""

    expect: Literal["agrees_within_product"]
    mostly: Share = 0.5


class NewValues(OfKeys):
    """Share of a key's values that the last accepted table nowhere has."""

    expect: Literal["new_values"]
    max_share: Share = 0.2


class LostValues(OfKeys):
    """Share of a key's values in the last accepted table that no longer occur."""

    expect: Literal["lost_values"]
    max_share: Share = 0.2


class Drift(OfKeys):
    """Jensen-Shannon distance (base 2: 0 same, 1 nothing in common) from the last accepted table."""

    expect: Literal["drift"]
    of: Literal["keys", "values", "text_length"] = Field(
        description="how often keys occur, how often each value of a key does, characters of the texts"
    )
    max_distance: Share = 0.3


class GxExpectation(OfCategories):
    """Any expectation that Great Expectations ships, with its own parameters."""

    expect: str
    table: Literal["texts", "pairs", "values"] = Field(
        description="texts: a row a listing; pairs: a row a pair; values: a row a listing, a column a key"
    )
    parameters: dict[str, Any] = Field(default_factory=dict, description="as its documentation names them")

    @field_validator("expect")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in (known := gx_schemas()):
            raise ValueError(f"Great Expectations has no such expectation; it has {', '.join(sorted(known))}")
        return name

    @model_validator(mode="after")
    def _parameters_fit(self) -> Self:
        import jsonschema

        schema = json.loads(gx_schemas()[self.expect].read_text(encoding="utf-8"))
        own = {"severity", "description", "meta", "notes", "id", "batch_id", "metadata"}
        allowed = {name: rule for name, rule in schema["properties"].items() if name not in own}
        for name, rule in allowed.items():
            rule.pop("multipleOf", None)  # of a float: 0.29 is no multiple of 0.01
            if name in self.parameters and name == "mostly":
                rule["type"] = "number"
        checked = {**schema, "properties": allowed, "additionalProperties": False}
        problems = sorted(
            jsonschema.Draft202012Validator(checked).iter_errors(self.parameters), key=lambda p: list(p.path)
        )
        if problems:
            where = ".".join(["parameters", *map(str, problems[0].path)])
            raise ValueError(f"{where}: {problems[0].message}; it takes {', '.join(sorted(allowed))}")
        return self


@cache
def gx_schemas() -> dict[str, Path]:
    """Great Expectations' own by their snake_case name, each with its JSON schema; none is imported."""
    found = find_spec("great_expectations")
    if found is None or found.origin is None:
        raise ValueError("great_expectations is not installed")
    folder = Path(found.origin).parent / "expectations" / "core" / "schemas"
    return {snake_case(path.stem): path for path in sorted(folder.glob("Expect*.json"))}


def snake_case(name: str) -> str:
    """ExpectColumnKLDivergenceToBeLessThan: expect_column_kl_divergence_to_be_less_than."""
    letters = []
    for i, letter in enumerate(name):
        begins = letter.isupper() and i > 0 and (not name[i - 1].isupper() or name[i + 1 : i + 2].islower())
        letters.append(("_" if begins else "") + letter.lower())
    return "".join(letters)


def _kind(entry: object) -> str | None:
    expect = entry.get("expect") if isinstance(entry, dict) else getattr(entry, "expect", None)
    return GX if isinstance(expect, str) and expect.startswith("expect_") else expect


Expectation = Annotated[
    Annotated[RowCount, Tag("row_count")]
    | Annotated[TextsParse, Tag("texts_parse")]
    | Annotated[TextsParseInCategories, Tag("texts_parse_in_categories")]
    | Annotated[OneRowAListing, Tag("one_row_a_listing")]
    | Annotated[AllowedKeys, Tag("allowed_keys")]
    | Annotated[ValueLength, Tag("value_length")]
    | Annotated[RequiredKeys, Tag("required_keys")]
    | Annotated[Vocabulary, Tag("vocabulary")]
    | Annotated[Measure, Tag("measure")]
    | Annotated[Variety, Tag("variety")]
    | Annotated[AgreesWithShop, Tag("agrees_with_shop")]
    | Annotated[AgreesWithinProduct, Tag("agrees_within_product")]
    | Annotated[NewValues, Tag("new_values")]
    | Annotated[LostValues, Tag("lost_values")]
    | Annotated[Drift, Tag("drift")]
    | Annotated[GxExpectation, Tag(GX)],
    Discriminator(_kind),
]


def _different_names(entries: list[Any]) -> list[Any]:
    names = [entry.name for entry in entries]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two entries are named {twice[0]}")
    return entries


Expectations = Annotated[list[Expectation], Field(min_length=1), AfterValidator(_different_names)]


def least_expectations() -> Expectations:
    """Those of a profile that names none: what every table must be, whatever it holds."""
    return [
        RowCount(name="row_count", expect="row_count", description="There are rows."),
        OneRowAListing(
            name="unique_listings",
            expect="one_row_a_listing",
            description="Every row is of another listing of the catalog.",
        ),
        TextsParse(
            name="validity_rate", expect="texts_parse", description="Nearly all texts obey the grammar."
        ),
        TextsParseInCategories(
            name="category_coverage",
            expect="texts_parse_in_categories",
            description="In no category of some size do most texts break the grammar.",
        ),
        AllowedKeys(
            name="allowed_keys", expect="allowed_keys", description="Keys are those the prompt asked for."
        ),
        ValueLength(name="value_length", expect="value_length", description="Values are short."),
    ]
