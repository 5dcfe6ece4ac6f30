"""What a search answers: the models of the JSON API, which the page and the terminal show, too."""

from pydantic import BaseModel, ConfigDict, Field


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True)


class ListingFacts(_Fact):
    """A listing as the catalog states it."""

    listing_id: str
    product_id: str | None = None
    title: str
    description: str | None = None
    category: str | None = None
    seller: str | None = None
    attributes: dict[str, str] | None = Field(None, description="what the seller states")
    group_id: str | None = Field(None, description="its group of identical products; null: in none")


class Result(ListingFacts):
    """A listing that was found."""

    rank: int = Field(description="1 is the nearest")
    similarity: float = Field(description="cosine of the query's and the listing's vector")
    confidence: float | None = Field(
        description="probability that query and listing are one product; null where they are not linked, or "
        "where it cannot be told (see notes)"
    )
    linked: bool | None = Field(
        description="each is among the other's nearest, as grouping demands; null where it cannot be told"
    )


class GroupMember(ListingFacts):
    """A listing of a group of identical products."""

    score: float = Field(description="highest similarity to another listing of the group")
    confidence: float = Field(description="probability that the link of this score joins one product")
    reviewed: bool = Field(description="a person called it the same as another of the group")


class SearchedWith(_Fact):
    """What was embedded and searched with."""

    listing_id: str | None = Field(None, description="the listing whose vector was searched with")
    photo: bool = Field(description="a photo was embedded")
    text: str | None = Field(description="the text as embedded, without attributes")
    attributes: str | None = Field(description="the attribute text embedded after it")
    attributes_by: str | None = Field(description="`you`, or the generator version that wrote it")


class IndexFacts(_Fact):
    """Whose vectors are searched."""

    embedder: str = Field(description="the version that made the vectors, models:/…")
    embedder_digest: str = Field(description="digest of its files")
    generator: str | None = Field(description="whose attribute texts the indexed listings show; null: none")
    generator_digest: str | None
    listings: int
    dimensions: int
    recipe: str = Field(description="faiss's index factory string")
    exact: bool = Field(description="every listing is compared")
    built_at: str = Field(description="ISO 8601, UTC")
    groups: int
    grouped_listings: int
    calibrated: bool = Field(description="confidences can be stated")


class Answer(_Fact):
    """The nearest listings, best first."""

    query: SearchedWith
    results: list[Result]
    notes: list[str] = Field(description="what a reader of the numbers must know, in sentences")
    index: IndexFacts
    seconds: float = Field(description="time to embed and search")


class Identical(_Fact):
    """The other listings of a listing's group."""

    listing_id: str
    group_id: str | None
    listings: list[GroupMember] = Field(description="without the listing itself; empty: in no group")


class Group(_Fact):
    """A group of identical products, the surest first."""

    group_id: str
    listings: list[GroupMember]
