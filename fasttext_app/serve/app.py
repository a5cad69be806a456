"""The application: what is answered at each path.

``POST /predict`` is answered before FastAPI's routing and middleware, which take several times as
long as a prediction. FastAPI documents it, and answers everything else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from fasttext_app._version import __version__
from fasttext_app.core.threads import CORES
from fasttext_app.errors import FastTextAppError
from fasttext_app.inference.display import model_facts
from fasttext_app.serve import pages
from fasttext_app.serve.answers import CsvRequest, answer, answer_csv, is_quick
from fasttext_app.serve.metrics import Metrics
from fasttext_app.serve.models import Models, Served
from fasttext_app.serve.schema import (
    ErrorResponse,
    Health,
    ModelHealth,
    ModelInfo,
    PredictRequest,
    PredictResponse,
    parse_request,
    parse_threshold,
    shown_problem,
)
from fasttext_app.serve.settings import ServeSettings

RELOAD_SECONDS = 1.0
"""Time between two looks at the files of the models."""
CSV_NAME = "the CSV"
CLIENT_GONE = 499
"""The status that is counted for a client that has left; nobody reads the answer."""

Result = TypeVar("Result")

SECURITY = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
OK = "The answer."
ERRORS: dict[int | str, dict[str, Any]] = {
    413: {"model": ErrorResponse, "description": "The body is too large."},
    422: {"model": ErrorResponse, "description": "The request is wrong; `detail` says how."},
}
CSV_BODY = {
    "requestBody": {
        "required": True,
        "content": {"text/csv": {"schema": {"type": "string"}, "example": "text\noil prices\n"}},
    }
}
CSV_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"description": "The rows with their labels.", "content": {"text/csv": {}}},
    **ERRORS,
}

ModelName = Annotated[str | None, Query(description="Name of the model; default: the first one.")]

logger = logging.getLogger(__name__)


class _ClientGoneError(Exception):
    """The client disconnected before its request was complete."""


class _TooLargeError(Exception):
    """The body of a request is larger than allowed."""


EXPECTED = (
    *(FastTextAppError, RequestValidationError, HTTPException),
    *(_ClientGoneError, _TooLargeError),
)
"""What a client can cause; all else is an error of the service."""


class Service:
    """The ASGI application.

    Args:
        models: the models.
        settings: the limits of a request.
        metrics: counts what is answered.
    """

    def __init__(self, models: Models, settings: ServeSettings, metrics: Metrics) -> None:
        self.models, self.settings, self.metrics = models, settings, metrics
        self._pool = ThreadPoolExecutor(CORES, thread_name_prefix="predict")
        self.api = FastAPI(
            title="fasttext-app",
            version=__version__,
            description="Text classification with bags of n-grams.",
            docs_url=None,
            redoc_url=None,
            lifespan=self._lifespan,
        )
        self._add_routes()
        for kind in EXPECTED:
            self.api.add_exception_handler(kind, self._handle)

    def _add_routes(self) -> None:
        add = self.api.add_api_route
        add(
            "/predict",
            self.predict,
            methods=["POST"],
            responses={200: {"model": PredictResponse, "description": OK}, **ERRORS},
        )
        add(
            "/predict/csv",
            self.predict_csv,
            methods=["POST"],
            response_class=Response,
            responses=CSV_ANSWER,
            openapi_extra=CSV_BODY,
        )
        add("/model", self.model, response_description=OK, responses={422: ERRORS[422]})
        add("/models", self.list_models, response_description=OK)
        add("/health", self.health, response_description=OK)
        add("/metrics", self.prometheus, response_class=Response, response_description=OK)
        add("/", self.page, include_in_schema=False)
        add("/docs", self.docs, include_in_schema=False)
        add("/static/{name}", self.static, include_in_schema=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or start and stop with the server."""
        if scope["type"] != "http":
            await self.api(scope, receive, send)
        elif scope["path"] == "/predict" and scope["method"] == "POST":
            response = await self._predict_at_once(receive)
            self.metrics.count_request(response.status_code)
            await response(scope, receive, send)
        else:
            await self.api(scope, receive, partial(self._counted, send))

    async def _counted(self, send: Send, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.metrics.count_request(message["status"])
        await send(message)

    # --- what is answered

    async def _predict_at_once(self, receive: Receive) -> Response:
        """Answer ``POST /predict``."""
        try:
            return await self.predict(parse_request(await self._read(receive)))
        except Exception as error:  # noqa: BLE001 - the answer to an unknown one is 500
            return self._error_response(error)

    async def predict(self, request: PredictRequest) -> Response:
        """Predict the labels of one text or of several."""
        start = perf_counter()
        served = self.models.get(request.model)
        values = partial(answer, request, served, self.settings.max_texts)
        body = to_json(values() if is_quick(request) else await self._in_thread(values))
        texts = 1 if request.texts is None else len(request.texts)
        self.metrics.count_texts(served.name, texts, perf_counter() - start)
        return Response(body, media_type="application/json")

    async def predict_csv(
        self,
        request: Request,
        model: ModelName = None,
        text_column: Annotated[
            list[str],
            Query(description="Column of the texts; several are joined. Default: as in training."),
        ] = [],  # noqa: B006 - FastAPI copies it
        top_k: Annotated[int | None, Query(ge=1, description="Labels per text.")] = None,
        threshold: Annotated[
            str, Query(description="Smallest probability of a label, or `fitted`.")
        ] = "0",
        header: Annotated[
            bool, Query(description="Whether the first row names the columns.")
        ] = True,
        encoding: Annotated[str, Query(description="Encoding: `cp1252`, `utf-16`, ...")] = "utf-8",
        name: Annotated[str, Query(description="Name of the file, for messages.")] = CSV_NAME,
    ) -> Response:
        """Predict the labels of the rows of a CSV; the answer is all columns and the labels.

        Cells that a spreadsheet would run as formulas begin with a quote.
        """
        start = perf_counter()
        served = self.models.get(model)
        data = await self._read(request.receive)
        wanted = CsvRequest(
            data, name, tuple(text_column), header, encoding, top_k, parse_threshold(threshold)
        )
        text, rows = await self._in_thread(
            partial(answer_csv, wanted, served, self.settings.max_texts)
        )
        self.metrics.count_texts(served.name, rows, perf_counter() - start)
        headers = {"content-disposition": 'attachment; filename="answers.csv"'}
        return Response(text, media_type="text/csv; charset=utf-8", headers=headers | SECURITY)

    async def model(self, name: ModelName = None) -> ModelInfo:
        """Describe a model."""
        return _info(self.models.get(name))

    async def list_models(self) -> list[ModelInfo]:
        """Describe all models; the first one answers requests that name none."""
        return [_info(watched.current) for watched in self.models.watched.values()]

    async def health(self) -> Health:
        """Tell whether all models are served as they are on disk."""
        states = {
            name: ModelHealth(
                status="stale" if watched.error else "ok",
                version=watched.current.version,
                error=watched.error,
            )
            for name, watched in self.models.watched.items()
        }
        is_stale = any(state.error for state in states.values())
        return Health(status="stale" if is_stale else "ok", version=__version__, models=states)

    async def prometheus(self) -> Response:
        """Count requests, texts and seconds, in Prometheus' text format."""
        stale = {name: bool(watched.error) for name, watched in self.models.watched.items()}
        return Response(self.metrics.text(stale), media_type="text/plain; version=0.0.4")

    async def page(self) -> HTMLResponse:
        """Return the page to type a text."""
        html = pages.predict_page([_info(w.current) for w in self.models.watched.values()])
        return HTMLResponse(html, headers=SECURITY)

    async def docs(self, request: Request) -> HTMLResponse:
        """Return the page that describes the interface."""
        html = pages.docs_page(self.api.openapi(), str(request.base_url))
        return HTMLResponse(html, headers=SECURITY)

    async def static(self, name: str) -> Response:
        """Return a style sheet, a script or a picture of the pages."""
        asset = pages.asset(name)
        if asset is None:
            raise HTTPException(404)
        return Response(asset.content, media_type=asset.media_type, headers=SECURITY)

    # --- how

    @asynccontextmanager
    async def _lifespan(self, api: FastAPI) -> AsyncIterator[None]:
        watcher = asyncio.create_task(self._watch())
        yield
        watcher.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            try:
                await self._in_thread(self.models.refresh)
            except Exception:  # the service goes on with the models that it has
                logger.exception("the models could not be checked for changes")

    async def _in_thread(self, function: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)

    async def _read(self, receive: Receive) -> bytes:
        """Return the body of a request."""
        message = await receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            parts, size = [body], len(body)
            while message.get("more_body") and size <= self.settings.max_bytes:
                message = await receive()
                parts.append(message.get("body", b""))
                size += len(parts[-1])
            body = b"".join(parts)
        if message["type"] != "http.request":
            raise _ClientGoneError
        if len(body) > self.settings.max_bytes:
            raise _TooLargeError
        return body

    async def _handle(self, request: Request, error: Exception) -> Response:
        return self._error_response(error)

    def _error_response(self, error: Exception) -> Response:
        """Return the answer to a request that cannot be answered as it wishes."""
        headers = None
        if isinstance(error, FastTextAppError):
            status, detail = 422, str(error)
        elif isinstance(error, RequestValidationError):
            status, detail = 422, shown_problem(error.errors()[0])
        elif isinstance(error, _TooLargeError):
            most = self.settings.max_bytes
            status, detail = 413, f"the body has more than {most:,} bytes; send it in parts"
        elif isinstance(error, _ClientGoneError):
            status, detail = CLIENT_GONE, "the client disconnected before its request was complete"
        elif isinstance(error, HTTPException):
            status, detail, headers = error.status_code, f"{error.detail}; see /docs", error.headers
        else:
            logger.error("a prediction failed", exc_info=error)
            status, detail = 500, "an error of the service; its log has the details"
        body = to_json({"detail": detail})
        return Response(body, status, headers, media_type="application/json")


def _info(served: Served) -> ModelInfo:
    model = served.classifier
    return ModelInfo(
        name=served.name,
        version=served.version,
        loaded=served.loaded,
        labels=list(model.labels),
        facts=model_facts(model.artifact),
        loss=model.config.model.loss,
        explains=served.explains,
        text_columns=list(model.config.data.text_columns),
        several_labels=model.head.independent,
        fitted_thresholds=model.fitted_thresholds is not None,
    )
