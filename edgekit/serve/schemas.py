# SPDX-License-Identifier: Apache-2.0
"""The documents of the API; FastAPI makes the OpenAPI document from them."""

from __future__ import annotations

from pydantic import BaseModel, Field

from edgekit.evaluate.answers import ClassScore, MaskClass, ObjectBox, Person
from edgekit.serve.models import Answered, ServedModel


class ModelFacts(BaseModel):
    """A model that is served."""

    name: str
    task: str = Field(description="detection, classification, multilabel, segmentation, pose, ...")
    recognized_by: str
    sha256: str
    input: list[int] = Field(description="The shape of the first input.")
    preprocess: str
    labels: list[str] = Field(description="Names of the classes, by index; empty if unknown.")
    device: str
    runtime: str
    warnings: list[str]

    @classmethod
    def of(cls, model: ServedModel) -> ModelFacts:
        """Return the facts of an open model."""
        session, environment = model.session, model.runner.environment
        return cls(
            name=model.name,
            task=model.task,
            recognized_by=session.decoder.why,
            sha256=model.prepared.sha256,
            input=list(model.runner.inputs[0].shape) if model.runner.inputs else [],
            preprocess=str(session.preprocess),
            labels=list(session.names),
            device=environment.device,
            runtime=environment.runtime,
            warnings=list(session.warnings),
        )


class OutputFacts(BaseModel):
    """One output tensor, dequantized; None stands for NaN and infinity."""

    name: str
    shape: list[int]
    dtype: str
    min: float | None
    max: float | None
    mean: float | None


class AnswerDocument(BaseModel):
    """The answer to an image; which fields are filled depends on the model's task."""

    model: str
    task: str
    width_px: int = Field(description="Of the upright image; boxes are in its pixels.")
    height_px: int
    top: list[ClassScore]
    objects: list[ObjectBox]
    mask: list[MaskClass]
    people: list[Person]
    values: list[float]
    outputs: list[OutputFacts]
    inference_ms: float = Field(description="Of the model alone.")
    waited_ms: float = Field(description="For requests that came before.")
    total_ms: float = Field(description="Reading the image, inference, decoding and drawing.")
    picture: str | None = Field(description="A data URL of the answer drawn on the image.")

    @classmethod
    def of(cls, model: ServedModel, found: Answered) -> AnswerDocument:
        """Return the document of an answer."""
        answer = found.answer
        plain = [each.to_dict() for each in answer.outputs]
        return cls(
            model=model.name,
            task=model.task,
            width_px=found.size[0],
            height_px=found.size[1],
            top=list(answer.top),
            objects=list(answer.objects),
            mask=list(answer.mask),
            people=list(answer.people),
            values=list(answer.values),
            outputs=[OutputFacts.model_validate(each) for each in plain],
            inference_ms=answer.latency_ms,
            waited_ms=found.waited_s * 1e3,
            total_ms=found.total_s * 1e3,
            picture=found.picture or None,
        )


class Health(BaseModel):
    """Whether every model can answer."""

    status: str = Field(description="ok, or failing with status 503")
    version: str
    problems: list[str]


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str


class Prediction(BaseModel):
    """One object, as DeepStack and CodeProject.AI state it; coordinates in pixels of the image."""

    label: str
    confidence: float
    x_min: int
    y_min: int
    x_max: int
    y_max: int


class Detected(BaseModel):
    """DeepStack's answer, with the fields that CodeProject.AI adds."""

    success: bool
    predictions: list[Prediction]
    count: int
    message: str
    duration: float = Field(description="Seconds.")
    inferenceMs: int  # noqa: N815 - the name in that API
    processMs: int  # noqa: N815
    moduleId: str = "edgekit"  # noqa: N815
    moduleName: str  # noqa: N815
    command: str
    code: int = 200


class CustomModels(BaseModel):
    """The names for ``/v1/vision/custom/NAME``."""

    success: bool
    models: list[str]
