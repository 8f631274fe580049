"""The JSON interface and the page as a web application.

Goes in: the index that is searched. Comes out: a FastAPI application, whose OpenAPI document is at /openapi.json.
"""

from __future__ import annotations

import hashlib
import importlib.resources
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

import biohicl
from biohicl.errors import BioHiCLError
from biohicl.progress import say
from biohicl.web.answers import (
    HIGHEST_PMID,
    AboutAnswer,
    Answer,
    Asked,
    Below,
    Citation,
    HeadingsAnswer,
    Narrowed,
    Refusal,
    TreeAnswer,
    Typed,
    Wanted,
)
from biohicl.web.citing import FORMATS
from biohicl.web.desk import BusyError, Desk
from biohicl.web.guard import HEADERS, Guard, Refused
from biohicl.web.limits import IsKnown, Limits, host_check
from biohicl.web.live import Live, Opened
from biohicl.web.searching import about, exported, found, one, similar, suggested, unfolded
from biohicl.web.words import in_words

REFUSALS = {
    400: "No HTTP as this server reads it: an unknown name in Host, bytes that are no UTF-8, ill-formed JSON",
    403: "Asked by a page of another site",
    404: "There is no such citation, place or page",
    405: "Not this way",
    408: "The body came too slowly",
    413: "The body is too large",
    414: "The address is too long, or sets too many things",
    422: "A value is none, too long, or unknown; the nearest are named",
    500: "A fault of the server, told in its log",
    503: "Too much work waits; Retry-After says when to come again",
}
DOCUMENTED: Any = {status: {"model": Refusal, "description": words} for status, words in REFUSALS.items()}
RETRY_SECONDS = "5"
QUICK_AT_A_TIME = 2
# By path; nothing else is ever read.
PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/static/page.css": ("page.css", "text/css; charset=utf-8"),
    **{
        f"/static/{name}.js": (f"{name}.js", "text/javascript; charset=utf-8")
        for name in ("page", "parts", "headings", "results")
    },
}
Endpoint = Callable[..., Awaitable[Response]]
OnePmid = Annotated[int, Path(ge=1, le=HIGHEST_PMID)]


def application(live: Live, limits: Limits | None = None, is_known: IsKnown | None = None) -> FastAPI:
    """The application over an index. ``is_known``: the names it answers to; None: those of this machine's loopback."""
    limits = limits or Limits()
    app = FastAPI(
        title="BioHiCL search",
        version=biohicl.__version__,
        description="Citations of PubMed for queries in words. Errors are JSON with the key `error`, in words.",
        docs_url=None,  # loads its scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_middleware(Guard, limits=limits, is_known=is_known or host_check("localhost"))
    _answer_errors_in_words(app)
    # What takes long does not keep back what is quick.
    desks = [Desk(places, limits.queue, limits.patience) for places in (limits.at_a_time, QUICK_AT_A_TIME)]
    _add_interface(app, live, *desks)
    _add_page(app)
    return app


def _add_interface(app: FastAPI, live: Live, searches: Desk, quick: Desk) -> None:
    async def answered(work: Callable[[Opened], Any], desk: Desk = quick) -> Response:
        """What ``work`` makes of the index; as JSON, written in the same thread."""
        opened = live.now()
        content = await desk.do(lambda: work(opened).model_dump_json())
        return Response(content, media_type="application/json")

    def get(path: str, model: type) -> Callable[[Endpoint], Endpoint]:
        return app.get(path, response_model=model, responses=DOCUMENTED)

    @get("/api/search", Answer)
    async def search(asked: Annotated[Asked, Query()]) -> Response:
        """The best citations for a query, best first."""
        return await answered(partial(found, asked), searches)

    @get("/api/similar/{pmid}", Answer)
    async def more_like_this(pmid: OnePmid, narrowed: Annotated[Narrowed, Query()]) -> Response:
        """The citations that are nearest to one."""
        return await answered(partial(similar, pmid, narrowed), searches)

    @get("/api/citation/{pmid}", Citation)
    async def citation(pmid: OnePmid) -> Response:
        """One citation; its score is 1."""
        return await answered(partial(one, pmid))

    @get("/api/tree", TreeAnswer)
    async def tree(below: Annotated[Below, Query()]) -> Response:
        """What stands below a place of the MeSH tree."""
        return await answered(partial(unfolded, below.under))

    @get("/api/headings", HeadingsAnswer)
    async def headings(typed: Annotated[Typed, Query()]) -> Response:
        """At most ten MeSH headings for what somebody has begun to type."""
        return await answered(partial(suggested, typed.q))

    @get("/api/about", AboutAnswer)
    async def what_is_searched() -> Response:
        """What is searched, and how much may be asked at a time."""
        return await answered(about)

    types = {media_type: {"schema": {"type": "string"}} for _, media_type, _ in FORMATS.values()}

    @app.post(
        "/api/export",
        response_class=Response,
        responses={**DOCUMENTED, 200: {"content": types, "description": "A file for a reference manager"}},
    )
    async def export(wanted: Wanted) -> Response:
        """Citations as BibTeX, RIS, or a list of PMIDs, in the order that is given."""
        opened = live.now()
        text = await quick.do(lambda: exported(wanted, opened))
        _, media_type, ending = FORMATS[wanted.format]
        named = {"content-disposition": f'attachment; filename="citations.{ending}"'}
        return Response(text, media_type=media_type, headers=named)


def _add_page(app: FastAPI) -> None:
    folder = importlib.resources.files("biohicl.web") / "page"
    for path, (name, media_type) in PAGE.items():
        content = (folder / name).read_bytes()
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        app.add_api_route(path, _sent(content, media_type, tag), include_in_schema=False)


def _sent(content: bytes, media_type: str, tag: str) -> Any:
    async def sent(request: Request) -> Response:
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"etag": tag})
        return Response(content, media_type=media_type, headers={"etag": tag})

    return sent


def _answer_errors_in_words(app: FastAPI) -> None:
    def refusal(status: int, words: str, **headers: str) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return JSONResponse({"error": words}, status, named)

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return refusal(error.status, str(error))

    @app.exception_handler(BusyError)
    async def busy(request: Request, error: BusyError) -> Response:
        return refusal(503, str(error), retry_after=RETRY_SECONDS)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return refusal(422, in_words(error.errors()))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        words = {
            400: "the request's body is no JSON that can be read",
            404: "there is no such page",
            405: f"not by {request.method}",
        }.get(error.status_code, error.detail)
        return refusal(error.status_code, words, **(dict(error.headers or {})))

    @app.exception_handler(BioHiCLError)
    async def broken(request: Request, error: BioHiCLError) -> Response:
        # What was asked has been looked at before: this is the index's fault. Its words name files.
        say(f"biohicl serve: {error}")
        return refusal(500, "the index cannot be read; the server's log says why")

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        # Answered outside of the guard, which would have put these there.
        return refusal(500, "the server has failed at this; its log says how", **HEADERS)
