"""The `onnx` teacher: any 2D segmentation network given as an ONNX file, and the names of its classes.

A pixel's feature is the mean of the class names' text embeddings, weighted by the network's probabilities, at unit length: so a
network of few classes becomes a teacher in the text encoder's space, unsure where the network is.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from distill.teachers.image_input import normalised, resized
from distill.text_encoders import embed_prompts, make_text_encoder
from relidar.config_file import Model
from relidar.errors import CheckpointError, ConfigError
from relidar.prompts import PromptSet, load_prompt_set

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
FLOATS = ("tensor(float)", "tensor(float16)")
Pixels = Annotated[int, Field(ge=1)]
Spread = Annotated[float, Field(gt=0)]


class OnnxConfig(Model):
    """A segmentation network and its class names."""

    kind: Literal["onnx"] = "onnx"
    weights: Annotated[str, Field(min_length=1)]
    """ONNX file: one input (1, 3, H, W) float, first output (1, C, h, w)."""
    prompts: Annotated[str, Field(min_length=1)]
    """Prompt set (YAML) whose ids are the channels: 0 to C - 1, such as configs/prompts/cityscapes19.yaml."""
    encoder: str = "sentence"
    """The text encoder of the class names; the student's must be the same."""
    input_px: tuple[Pixels, Pixels] | None = None
    """Height and width that images are scaled to; None takes the file's, or the image's own where the file leaves them open."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Taken from each channel, for values in 0..1."""
    std: tuple[Spread, Spread, Spread] = IMAGENET_STD
    """Divides each channel thereafter."""
    output: Literal["logits", "probabilities"] = "logits"
    """What the channels hold; checked on every image."""


class OnnxTeacher:
    """The frozen network on ONNX Runtime."""

    def __init__(self, config: OnnxConfig) -> None:
        """Raises CheckpointError if the file does not fit, ConfigError if its class names do not, TextError for the encoder."""
        self._config = config
        self._session = _session(config.weights)
        entry = self._session.get_inputs()[0]
        self._input, self._half = entry.name, entry.type == "tensor(float16)"
        self._fixed_px = [side if isinstance(side, int) else None for side in entry.shape[2:]]
        self._check_size()
        prompt_set = load_prompt_set(Path(config.prompts))
        answer = self._session.get_outputs()[0]
        if answer.type not in FLOATS or (answer.shape and len(answer.shape) != 4):
            raise _not_dense(config.weights, f"{answer.name!r} is {answer.type} {answer.shape}")
        if isinstance(answer.shape[1], int):
            _check_classes(prompt_set, answer.shape[1], config)
        self._prompt_set = prompt_set
        self._text = torch.from_numpy(class_embeddings(prompt_set, config.encoder))
        self.feature_width = self._text.shape[1]
        self.text_encoder: str | None = config.encoder
        digest = hashlib.sha256(config.model_dump_json(exclude={"weights", "prompts"}).encode())
        digest.update(prompt_set.model_dump_json().encode() + Path(config.weights).read_bytes())
        self.fingerprint = f"onnx:{digest.hexdigest()}"

    def __reduce__(self) -> tuple[type["OnnxTeacher"], tuple[OnnxConfig]]:
        """A worker process opens the file anew: sessions cannot be sent."""
        return OnnxTeacher, (self._config,)

    @torch.inference_mode()
    def __call__(self, image: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) RGB -> (D, h, w) unit features; raises CheckpointError for an answer that is not as configured."""
        sizes = self._config.input_px or (None, None)
        height, width = (a or b or c for a, b, c in zip(sizes, self._fixed_px, image.shape[:2], strict=True))
        pixels = normalised(resized(image, height, width), self._config.mean, self._config.std).numpy()
        (answer,) = self._run(pixels.astype(np.float16) if self._half else pixels)
        weight = torch.from_numpy(self._probabilities(answer))
        return normalize(torch.einsum("chw,cd->dhw", weight, self._text), dim=0)

    def _check_size(self) -> None:
        for given, fixed in zip(self._config.input_px or (), self._fixed_px, strict=False):
            if fixed is not None and given != fixed:
                raise ConfigError(
                    f"teacher onnx: input_px is {self._config.input_px}, but {self._config.weights} takes images of "
                    f"{tuple(self._fixed_px)} only (None: any); leave input_px out."
                )

    def _run(self, pixels: NDArray[np.floating]) -> list[Any]:
        try:
            return self._session.run([self._session.get_outputs()[0].name], {self._input: pixels})
        except Exception as error:  # ONNX Runtime's errors share no other base
            raise CheckpointError(
                f"{self._config.weights}: fails on an image of {pixels.shape[2]} x {pixels.shape[3]} pixels "
                f"({str(error).splitlines()[0]}); set `input_px` to a size that the network takes."
            ) from error

    def _probabilities(self, answer: NDArray[np.floating]) -> NDArray[np.float32]:
        """(1, C, h, w) answer -> (C, h, w) probabilities."""
        where = f"{self._config.weights}: output {self._session.get_outputs()[0].name!r}"
        if answer.ndim != 4 or answer.shape[0] != 1:
            raise _not_dense(self._config.weights, f"is {answer.shape}")
        _check_classes(self._prompt_set, answer.shape[1], self._config)
        scores = answer[0].astype(np.float32)
        if not np.isfinite(scores).all():
            raise CheckpointError(f"{where} holds NaN or infinity; export the network in float32, or mend `mean` and `std`.")
        normal = scores.min() >= -1e-3 and bool(np.allclose(scores.sum(axis=0), 1.0, atol=1e-2))
        if normal != (self._config.output == "probabilities"):
            found = "probabilities, not logits" if normal else "no probabilities: they are negative or do not sum to 1"
            right = "probabilities" if normal else "logits"
            raise CheckpointError(f"{where}: these are {found}; set `output: {right}` for this teacher.")
        if normal:
            return scores
        scores = np.exp(scores - scores.max(axis=0, keepdims=True))
        return scores / scores.sum(axis=0, keepdims=True)


def class_embeddings(prompt_set: PromptSet, encoder: str) -> NDArray[np.float32]:
    """(C, D) unit rows in the order of the ids: the mean over each class's prompts."""
    bank = embed_prompts(make_text_encoder(encoder), prompt_set)
    classes = sorted(prompt_set.classes, key=lambda c: c.id)
    rows = np.stack([bank.lookup(c.prompts).mean(axis=0) for c in classes])
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def _session(path: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise CheckpointError(f"{path}: needs ONNX Runtime ({error}); pip install 'relidar-train[export]'.") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    present = onnxruntime.get_available_providers()
    providers = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in present]
    try:
        session = onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # ONNX Runtime's errors share no other base
        raise CheckpointError(f"{path}: not a network that ONNX Runtime can load ({str(error).splitlines()[0]}).") from error
    inputs = session.get_inputs()
    shape = inputs[0].shape if inputs else []
    fits = len(inputs) == 1 and inputs[0].type in FLOATS and len(shape) == 4
    if not fits or (isinstance(shape[1], int) and shape[1] != 3):
        found = ", ".join(f"{entry.name} {entry.type} {entry.shape}" for entry in inputs) or "none"
        raise CheckpointError(f"{path}: inputs are {found}; expected one float (1, 3, H, W) image: export it so.")
    return session


def _not_dense(path: str, found: str) -> CheckpointError:
    return CheckpointError(f"{path}: the first output {found}; expected float (1, C, h, w): export the network without argmax.")


def _check_classes(prompt_set: PromptSet, channels: int, config: OnnxConfig) -> None:
    ids = sorted(c.id for c in prompt_set.classes)
    if ids == list(range(channels)):
        return
    raise ConfigError(
        f"teacher onnx: {config.weights} has {channels} channels, but {config.prompts} names {len(ids)} classes with ids "
        f"{ids[0]} to {ids[-1]}; expected one class for each channel, its id the channel's number, 0 to {channels - 1}."
    )
