"""The HTTP service: POST /predict and /batch, GET /health, /metrics, /openapi.json, and a page to try it at /."""

# Without annotations from __future__: FastAPI reads them, and those of the classes made here have no other name.
import logging
import time
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Any, Self

from p2m import __version__
from p2m.export.kinds import Adapter, Answering
from p2m.serve.batcher import Batcher, Busy
from p2m.serve.limits import BodyLimit, RequestLimits
from p2m.serve.metrics import Metrics

if TYPE_CHECKING:
    from fastapi import FastAPI

# The page's own files and this server's answers, nothing else: no script that a text could bring along.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = {
    "/": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}


@dataclass(frozen=True)
class Served:
    """What is behind the service: ``name`` and ``instruction`` of the task, the ``model``'s handle, its ``format``."""

    name: str
    instruction: str
    kind: str
    model: str
    format: str


def create_app(
    served: Served,
    adapter: Adapter,
    model: Answering,
    limits: RequestLimits = RequestLimits(),  # noqa: B008
) -> "FastAPI":
    """The ASGI application. A bad request is answered with 4xx and ``{"error": "one line"}``."""
    from fastapi import FastAPI, HTTPException, Request, Response
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator
    from starlette.exceptions import HTTPException as AnyHTTPException

    metrics = Metrics()
    batcher = Batcher(model.answer, limits.batch, limits.queued, metrics.batch)
    Text = Annotated[str, Field(max_length=limits.text)]
    strict = ConfigDict(extra="forbid")

    class Ask(BaseModel):
        model_config = strict
        text: Text

    class AskAbout(BaseModel):
        """A text in the form ``question: …`` and ``context: …`` on the next line, or the two by themselves."""

        model_config = strict
        text: Text | None = None
        question: Annotated[str, Field(max_length=limits.text)] | None = None
        context: Text | None = None

        @model_validator(mode="after")
        def one_form(self) -> Self:
            if (self.text is None) == (self.context is None) or (self.text is not None and self.question is not None):
                raise ValueError("give a context, with its question, or a text")
            return self

    class AskBatch(BaseModel):
        model_config = strict
        texts: Annotated[list[Text], Field(min_length=1, max_length=limits.batch)]

    Answer = adapter.answer
    Answers = create_model("Answers", predictions=(list[Answer], ...))  # type: ignore[valid-type]

    class Health(BaseModel):
        ready: bool
        name: str
        instruction: str
        kind: str
        model: str
        format: str
        p2m: str

    class Problem(BaseModel):
        error: str

    app = FastAPI(
        title=served.name,
        description=served.instruction,
        version=__version__,
        docs_url=None,  # both load scripts of another host
        redoc_url=None,
        responses={status: {"model": Problem} for status in (400, 413, 422, 503)},
    )

    async def answered(texts: list[str]) -> list[dict[str, Any]]:
        try:
            answers = await batcher.ask(texts)
        except Busy:
            raise HTTPException(503, "too many texts are waiting; try again", {"Retry-After": "1"}) from None
        except Exception as error:
            logging.getLogger(__name__).exception("the model failed")
            raise HTTPException(500, f"the model failed: {type(error).__name__}") from None
        if adapter.counted:
            for answer in answers:
                metrics.answer(str(answer[adapter.counted]))
        return answers

    if adapter.asks:

        @app.post("/predict", response_model=Answer, summary="Answer one question about a context")
        async def predict_about(ask: AskAbout) -> Any:
            text = ask.text if ask.text is not None else about(ask.question or "", ask.context or "")
            return (await answered([text]))[0]
    else:

        @app.post("/predict", response_model=Answer, summary="Answer one text")
        async def predict(ask: Ask) -> Any:
            return (await answered([ask.text]))[0]

    @app.post("/batch", response_model=Answers, summary="Answer several texts, in order")
    async def batch(ask: AskBatch) -> Any:
        return {"predictions": await answered(ask.texts)}

    @app.get("/health", response_model=Health, summary="Which model answers")
    async def health() -> Any:
        return {"ready": True, "p2m": __version__, **vars(served)}

    @app.get("/metrics", summary="Prometheus metrics")
    async def show_metrics() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    def page(file: str, media_type: str) -> Any:
        content = resources.files("p2m.serve").joinpath(file).read_bytes()

        async def show() -> Response:
            return Response(content, media_type=media_type)

        return show

    for path, (file, media_type) in _PAGE.items():
        app.get(path, include_in_schema=False)(page(file, media_type))

    @app.exception_handler(RequestValidationError)
    async def unreadable(request: Request, error: RequestValidationError) -> Response:
        return JSONResponse({"error": _said(error.errors())}, 422)

    @app.exception_handler(AnyHTTPException)
    async def refused(request: Request, error: AnyHTTPException) -> Response:
        return JSONResponse({"error": str(error.detail)}, error.status_code, headers=dict(error.headers or {}))

    known = {*_PAGE, "/predict", "/batch", "/health", "/metrics", "/openapi.json"}
    app.add_middleware(BodyLimit, most=limits.body)
    app.add_middleware(_Watched, metrics=metrics, known=known)
    return app


def _said(errors: Any) -> str:
    """Every fault on one line, without what the user sent."""
    said = []
    for error in errors:
        if error["type"] == "json_invalid":
            said.append("the body is no JSON")
            continue
        place = ".".join(str(part) for part in error["loc"] if part != "body") or "the body"
        said.append(f"{place}: {error['msg']}")
    return "; ".join(said[:5])


def about(question: str, context: str) -> str:
    """The input of a task that asks about a text; without a question the task's own is asked."""
    question = " ".join(question.split())
    return f"question: {question}\ncontext: {context}" if question else context


class _Watched:
    """ASGI middleware: headers of every answer, and its place in the metrics."""

    def __init__(self, app: Any, metrics: Metrics, known: set[str]) -> None:
        self._app, self._metrics, self._known = app, metrics, known

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def watched(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                added = (
                    (b"content-security-policy", _POLICY.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                    (b"cache-control", b"no-store"),
                )
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            path = scope["path"] if scope["path"] in self._known else "other"
            self._metrics.request(path, status, time.perf_counter() - began)
