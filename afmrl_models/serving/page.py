"""The page for people: one form, its answer below it; the server makes all of it."""

from collections.abc import Callable
from importlib.resources import files
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import FastAPI, File, Form, Request, UploadFile
from fastapi.exception_handlers import request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response

from afmrl_models.catalog.inline_photo import inline_photo
from afmrl_models.errors import UserError
from afmrl_models.retrieval.pages import STYLE, templates
from afmrl_models.serving.query import MAX_CHARACTERS, MAX_UPLOAD_BYTES, read_query
from afmrl_models.serving.searching import MAX_RESULTS, Searcher
from afmrl_models.serving.service import SearchService

_OWN = files(__package__)
_STATIC = {
    "page.css": (STYLE, "text/css"),
    "search.css": (_OWN.joinpath("search.css").read_text(encoding="utf-8"), "text/css"),
    "search.js": (_OWN.joinpath("search.js").read_text(encoding="utf-8"), "text/javascript"),
}
_RESULTS = 12


def add_page(app: FastAPI, service: SearchService, status_of: Callable[[UserError], int]) -> None:
    """Add the page and what it loads; without scripts it works, too."""
    template = templates("afmrl_models.serving").get_template("search.html.jinja")

    def render(searcher: Searcher, status: int = 200, **shown: Any) -> HTMLResponse:
        released = searcher.released
        nothing: dict[str, Any] = {
            "answer": None,
            "group": None,
            "error": None,
            "asked": {"text": "", "attributes": "", "generator": True, "k": _RESULTS},
            "query_photo": None,
            "some": released.some(_RESULTS) if not shown else [],
        }
        page = template.render(
            **(nothing | shown),
            profile=service.profile_name,
            index=released.about,
            generator=searcher.encoder.generator,
            photo=lambda listing_id: f"/photos/{quote(listing_id, safe='')}",
            to_listing=lambda listing_id: f"/?listing={quote(listing_id, safe='')}",
            to_group=lambda group_id: f"/?group={quote(group_id, safe='')}",
            limits={"results": MAX_RESULTS, "characters": MAX_CHARACTERS, "bytes": MAX_UPLOAD_BYTES},
        )
        return HTMLResponse(page, status)

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def look(listing: str | None = None, group: str | None = None, k: int = _RESULTS) -> HTMLResponse:
        searcher = service.searcher
        try:
            if listing is not None:
                photo = f"/photos/{quote(listing, safe='')}"
                return render(searcher, answer=searcher.nearest(listing, k), query_photo=photo)
            if group is not None:
                return render(searcher, group=(group, searcher.released.members(group)))
        except UserError as error:
            return render(searcher, status_of(error), error=str(error))
        return render(searcher)

    @app.post("/", response_class=HTMLResponse, include_in_schema=False)
    def ask(
        image: Annotated[UploadFile | None, File()] = None,
        text: Annotated[str, Form()] = "",
        attributes: Annotated[str, Form()] = "",
        generator: Annotated[bool, Form()] = False,
        k: Annotated[int, Form()] = _RESULTS,
    ) -> HTMLResponse:
        searcher = service.searcher
        asked = {"text": text, "attributes": attributes, "generator": generator, "k": k}
        # A form sends a field that was left empty as an empty text, or as a file without a name.
        photo = image.file.read() if image is not None and image.filename else None
        try:
            query = read_query(
                searcher.encoder.image_size,
                photo=photo,
                text=text if text.strip() else None,
                attributes=attributes,
            )
            answer = searcher.search(query, k, with_generator=generator)
        except UserError as error:
            return render(searcher, status_of(error), error=str(error), asked=asked)
        shown = None if query.shown is None else inline_photo(query.shown)
        return render(searcher, answer=answer, asked=asked, query_photo=shown)

    @app.get("/static/{name}", include_in_schema=False)
    def static(name: str) -> Response:
        if name not in _STATIC:
            return Response(status_code=404)
        text, media_type = _STATIC[name]
        return Response(text, media_type=media_type)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        if request.url.path != "/":
            return await request_validation_exception_handler(request, error)
        said = "; ".join(f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors())
        return render(service.searcher, 422, error=said)
