"""The contact sheet of a search: one page that needs no other file."""

from PIL import Image

from afmrl_models.catalog.inline_photo import inline_photo
from afmrl_models.retrieval.pages import templates
from afmrl_models.serving.answers import Answer
from afmrl_models.serving.released import Released

_EDGE = 240


def search_sheet(answer: Answer, released: Released, profile: str, shown: Image.Image | None) -> str:
    """HTML with the photos inside; catalog text is escaped. shown: the query's photo, if it has one."""
    if answer.query.listing_id is not None:
        shown = released.photos.get(answer.query.listing_id)
    return (
        templates("afmrl_models.serving")
        .get_template("sheet.html.jinja")
        .render(
            answer=answer,
            profile=profile,
            query_photo=None if shown is None else inline_photo(shown, _EDGE),
            photo=lambda listing_id: inline_photo(released.photos.get(listing_id), _EDGE),
        )
    )
