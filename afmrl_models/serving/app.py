"""The web application: a page for people and a JSON API for programs, from one service."""

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, File, Form, Request, UploadFile
from fastapi.responses import JSONResponse, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware

from afmrl_models.errors import UserError
from afmrl_models.serving.answers import Answer, Group, Identical, IndexFacts, ListingFacts
from afmrl_models.serving.encoder import BusyError
from afmrl_models.serving.guards import BoundedBody, PageHeaders
from afmrl_models.serving.page import add_page
from afmrl_models.serving.query import MAX_UPLOAD_BYTES, PhotoTooLargeError, QueryError, read_query
from afmrl_models.serving.released import UnknownIdError
from afmrl_models.serving.searching import MAX_RESULTS
from afmrl_models.serving.service import SearchService

# Of the form's other fields, and its framing.
_FORM_BYTES = 2**17
_STATUS: dict[type[UserError], int] = {UnknownIdError: 404, PhotoTooLargeError: 413, BusyError: 503}

HowMany = Annotated[int, Form(ge=1, le=MAX_RESULTS, description="results")]


def create_app(service: SearchService, hosts: Sequence[str]) -> FastAPI:
    """The application over a service. hosts: names a request may address it by (`*`: any).

    While it runs, a thread looks for a new index. The API is described at /openapi.json; the pages that
    FastAPI makes of it are off, for they load scripts from elsewhere.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        stop = threading.Event()
        watcher = threading.Thread(target=service.watch, args=(stop,), name="new-index", daemon=True)
        watcher.start()
        yield
        stop.set()

    app = FastAPI(
        title=f"AFMRL: {service.profile_name}",
        description="Search a catalog by photo, text or listing, and look up groups of identical products.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(BoundedBody, most=MAX_UPLOAD_BYTES + _FORM_BYTES)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    app.add_middleware(PageHeaders)

    @app.exception_handler(UserError)
    async def refused(_: Request, error: UserError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_of(error))

    _add_api(app, service)
    add_page(app, service, status_of)
    return app


def status_of(error: UserError) -> int:
    """The HTTP status of what a user gave wrong."""
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 422)


def _add_api(app: FastAPI, service: SearchService) -> None:
    @app.post("/api/search")
    def search(
        image: Annotated[UploadFile | None, File(description="a photo")] = None,
        text: Annotated[str | None, Form(description="what a title would say")] = None,
        attributes: Annotated[str | None, Form(description="`key: value; key: value`")] = None,
        listing_id: Annotated[str | None, Form(description="in place of photo and text")] = None,
        generator: Annotated[bool, Form(description="let the champion's generator write attributes")] = True,
        k: HowMany = 10,
    ) -> Answer:
        """The nearest listings of a photo, a text, or both; or of a listing."""
        searcher = service.searcher
        if listing_id is not None:
            if image is not None or text is not None or attributes is not None:
                raise QueryError("give a listing_id, or a photo and text, not both")
            return searcher.nearest(listing_id, k)
        photo = None if image is None else image.file.read()
        query = read_query(searcher.encoder.image_size, photo=photo, text=text, attributes=attributes)
        return searcher.search(query, k, with_generator=generator)

    # The longer path first: an id may hold a slash.
    @app.get("/api/listings/{listing_id:path}/identical")
    def identical(listing_id: str) -> Identical:
        """The listings that are the same product as this one."""
        released = service.searcher.released
        group_id = released.facts(listing_id).group_id
        members = [] if group_id is None else released.members(group_id)
        others = [member for member in members if member.listing_id != listing_id]
        return Identical(listing_id=listing_id, group_id=group_id, listings=others)

    @app.get("/api/listings/{listing_id:path}")
    def listing(listing_id: str) -> ListingFacts:
        """A listing, as the catalog states it."""
        return service.searcher.released.facts(listing_id)

    @app.get("/api/groups/{group_id:path}")
    def group(group_id: str) -> Group:
        """A group of identical products."""
        return Group(group_id=group_id, listings=service.searcher.released.members(group_id))

    @app.get("/api/index")
    def index() -> IndexFacts:
        """Whose vectors are searched, and how."""
        return service.searcher.released.about

    @app.get("/photos/{listing_id:path}", response_class=Response)
    def photo(listing_id: str) -> Response:
        """A listing's photo, a JPEG."""
        data = service.searcher.released.jpeg_of(listing_id)
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=300"})

    @app.get("/healthz")
    async def healthz() -> dict[str, str | None]:
        """The state in force, and why a newer one is not, if so."""
        origin = service.searcher.released.index.origin
        return {"status": "ok", "embedder": origin.embedder, "reload_error": service.reload_error}

    @app.get("/favicon.ico", include_in_schema=False)
    async def no_icon() -> Response:
        return Response(status_code=204)
