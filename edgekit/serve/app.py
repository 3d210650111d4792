# SPDX-License-Identifier: Apache-2.0
"""The page, the JSON API, health and metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, File, Form, HTTPException, Query, Response, UploadFile
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware

from edgekit.data.images import ImageSizeError
from edgekit.errors import DeviceError, EdgeKitError
from edgekit.serve import deepstack
from edgekit.serve.guard import BodyLimit, Guard
from edgekit.serve.hosts import allowed_hosts
from edgekit.serve.metrics import Metrics
from edgekit.serve.models import (
    MOST_PIXELS,
    Answered,
    NotAnImageError,
    ServedModel,
    ServedModels,
)
from edgekit.serve.schemas import (
    AnswerDocument,
    CustomModels,
    Detected,
    Health,
    ModelFacts,
    Problem,
)
from edgekit.version import __version__

_PAGE = Path(__file__).with_name("page")
# The page needs nothing from elsewhere.
_POLICY = "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'"
_HEADERS = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The request is not a form."},
    401: {"model": Problem, "description": "The token is missing or wrong."},
    404: {"model": Problem, "description": "There is no such model."},
    413: {"model": Problem, "description": "The image is too large."},
    415: {"model": Problem, "description": "It is not an image that can be read."},
    422: {"description": "A field is missing or wrong, or the model cannot run on the image."},
    503: {"model": Problem, "description": "The Edge TPU is lost."},
}

Image = Annotated[UploadFile, File(description="An image file: JPEG, PNG, ...")]
LeastScore = Annotated[float, Query(ge=0, le=1, description="Leave out what has a lower score.")]


def make_app(models: ServedModels, *, host: str = "127.0.0.1", token: str = "") -> FastAPI:
    """Return the application.

    Args:
        models: The open models; the caller closes them.
        host: The address that it will listen on: on loopback only requests to it are answered.
        token: What requests must have in ``Authorization: Bearer TOKEN``; empty: nothing.
    """
    guard, metrics = Guard(token), Metrics(models)
    app = FastAPI(
        title="edgekit serve",
        version=__version__,
        description="Answers of models to images.",
        docs_url=None,  # its page comes from another site
        redoc_url=None,
    )
    app.add_middleware(BodyLimit)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=allowed_hosts(host))
    needs_token = [Depends(guard.check)] if token else []

    def answer(model: ServedModel, image: UploadFile, least: float, *, draws: bool) -> Answered:
        """Answer an upload, and count it."""
        try:
            found = model.answer(image.file.read(), least_score=least, draws=draws)
        except Exception as error:
            refusal = _refusal(error)
            metrics.refused(model.name, refusal.status_code if refusal else 500)
            if refusal is None:
                raise
            raise refusal from error
        metrics.answered(model, found)
        return found

    def named(name: str) -> ServedModel:
        model = models.get(name)
        if model is None:
            names = ", ".join(each.name for each in models)
            raise HTTPException(404, f"there is no model {name!r}; there are: {names}")
        return model

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(_PAGE / "index.html", headers=_HEADERS)

    app.mount("/page", StaticFiles(directory=_PAGE), name="page")

    @app.get("/health", responses={503: {"model": Health}})
    def health(response: Response) -> Health:
        """Whether every model can answer."""
        problems = [f"{each.name}: {each.problem}" for each in models if each.problem]
        response.status_code = 503 if problems else 200
        return Health(
            status="failing" if problems else "ok", version=__version__, problems=problems
        )

    @app.get(
        "/metrics",
        dependencies=needs_token,
        response_class=Response,
        responses={401: _REFUSALS[401]},
    )
    def numbers() -> Response:
        """Numbers of the server in Prometheus's text format."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/api/models", dependencies=needs_token, responses={401: _REFUSALS[401]})
    def list_models() -> list[ModelFacts]:
        """The models that are served."""
        return [ModelFacts.of(each) for each in models]

    @app.post("/api/models/{name}/answer", dependencies=needs_token, responses=_REFUSALS)
    def answer_image(
        name: str, image: Image, min_score: LeastScore = 0.0, picture: bool = False
    ) -> AnswerDocument:
        """Run a model on an image."""
        model = named(name)
        return AnswerDocument.of(model, answer(model, image, min_score, draws=picture))

    @app.post("/v1/vision/detection", responses=_REFUSALS)
    def detect(
        image: Image,
        min_confidence: Annotated[float, Form(ge=0, le=1)] = deepstack.LEAST_CONFIDENCE,
        api_key: Annotated[str, Form(description="The token, if one is needed.")] = "",
    ) -> Detected:
        """DeepStack's object detection, by the first detector that is served."""
        guard.check_token(api_key)
        model = models.detector()
        if model is None:
            raise HTTPException(404, "none of the models that are served is a detector")
        return deepstack.detected(model, answer(model, image, min_confidence, draws=False))

    @app.post("/v1/vision/custom/list", responses={401: _REFUSALS[401]})
    def custom_models(api_key: Annotated[str, Form()] = "") -> CustomModels:
        """The names of all detectors."""
        guard.check_token(api_key)
        names = [each.name for each in models if each.task == "detection"]
        return CustomModels(success=True, models=names)

    @app.post("/v1/vision/custom/{name}", responses=_REFUSALS)
    def detect_by(
        name: str,
        image: Image,
        min_confidence: Annotated[float, Form(ge=0, le=1)] = deepstack.LEAST_CONFIDENCE,
        api_key: Annotated[str, Form()] = "",
    ) -> Detected:
        """DeepStack's custom detection, by the detector of this name."""
        guard.check_token(api_key)
        model = named(name)
        if model.task != "detection":
            raise HTTPException(404, f"{name} is not a detector: {model.task}")
        return deepstack.detected(model, answer(model, image, min_confidence, draws=False))

    @app.exception_handler(413)
    def too_large(_request: Any, error: HTTPException) -> JSONResponse:  # noqa: ANN401
        return JSONResponse({"detail": error.detail}, 413, {"Connection": "close"})

    return app


def _refusal(error: Exception) -> HTTPException | None:
    """Return the response to an image that has no answer; None for a fault of the server."""
    if isinstance(error, ImageSizeError):
        return HTTPException(413, f"{error}; at most {MOST_PIXELS:,} pixels are read")
    if isinstance(error, NotAnImageError):
        return HTTPException(415, str(error))
    if isinstance(error, DeviceError):
        return HTTPException(503, f"{error.what}; {error.fix}" if error.fix else error.what)
    if isinstance(error, EdgeKitError):
        return HTTPException(422, f"{error.what}: {error.why}" if error.why else error.what)
    return None
