"""The street teachers: small networks that see pixels only and answer in the space of the `sentence` encoder.

They stand in for camera foundation models where none can be downloaded, and were trained on labelled images of simulated streets,
of other seeds than any dataset made from them. They share one network and differ in how it was tied to the words:

  pixel_text    every pixel against the label words, as LSeg: `distill.teachers.train_pixel_text`
  street_clip   image regions against captions, as CLIP: `distill.teachers.train_street_clip`
"""

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from distill.teachers.street_network import FEATURE_WIDTH, StreetNetwork
from relidar.atomic import atomic_file
from relidar.errors import CheckpointError

StreetTeacherKind = Literal["pixel_text", "street_clip"]


class StreetTeacher:
    """One of the frozen networks."""

    feature_width = FEATURE_WIDTH
    text_encoder: str | None = "sentence"

    def __init__(self, kind: StreetTeacherKind = "pixel_text", weights: str | None = None) -> None:
        """Raises CheckpointError if the weights (by default those that come with relidar) do not fit."""
        path = Path(weights) if weights else shipped_weights(kind)
        self._network = load_network(path, kind).eval().requires_grad_(False)
        self.fingerprint = f"{kind}:{hashlib.sha256(path.read_bytes()).hexdigest()}"

    @torch.inference_mode()
    def __call__(self, image: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) RGB -> (384, H / 4, W / 4) unit features."""
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255.0
        return self._network(pixels)[0]


def shipped_weights(kind: StreetTeacherKind) -> Path:
    """Where the weights that come with relidar are."""
    return Path(__file__).with_name(f"{kind}.safetensors")


def load_network(path: Path, kind: StreetTeacherKind) -> StreetNetwork:
    """The network with weights from a file; raises CheckpointError if it holds no such weights."""
    network = StreetNetwork()
    try:
        state = load_file(path)
        network.load_state_dict({name: value.float() if value.is_floating_point() else value for name, value in state.items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: not weights of the {kind} teacher ({str(error).splitlines()[0]}); make them with "
            f"`python -m distill.teachers.train_{kind}`."
        ) from error
    return network


def save_network(network: StreetNetwork, path: Path) -> None:
    """Writes the weights in half precision."""
    half = {name: value.half() if value.is_floating_point() else value for name, value in network.state_dict().items()}
    with atomic_file(path) as temporary:
        save_file({name: value.contiguous() for name, value in half.items()}, temporary)
