"""The `timm` teacher: dense features of DINOv2 or any other backbone of timm.

No text lives in such a space: it serves pretraining for linear probes, fine-tuning and k-shot learning, not zero-shot.
"""

from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from distill.teachers.fingerprint import fingerprint
from distill.teachers.image_input import network_input
from relidar.config_file import Model
from relidar.errors import CheckpointError, ConfigError


class TimmConfig(Model):
    """A backbone of timm."""

    kind: Literal["timm"] = "timm"
    model: Annotated[str, Field(min_length=1)]
    """e.g. vit_small_patch14_dinov2.lvd142m"""
    weights: Annotated[str, Field(min_length=1)] | None = None
    """A local checkpoint in timm's format (.safetensors or torch.save); None fetches the model's own from its hub."""
    short_side_px: Annotated[int, Field(ge=1)] | None = None
    """Images are scaled to this height or width; None leaves their size."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where it runs; with cuda, fill the cache with --workers 0 and one process a GPU."""


class TimmTeacher:
    """A frozen backbone."""

    text_encoder: str | None = None

    def __init__(self, config: TimmConfig) -> None:
        """Raises CheckpointError if model or weights are not to be had, ConfigError for one without dense features."""
        self._model = _create(config).eval().requires_grad_(False)
        self._config = config
        self._stride = int(self._model.feature_info[-1]["reduction"])
        self.feature_width = int(self._model.num_features)
        self.fingerprint = fingerprint(config, self._model)

    @torch.inference_mode()
    def __call__(self, image: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) RGB -> (D, h, w) unit features, after the backbone's last norm."""
        of = self._model.pretrained_cfg
        pixels = network_input(image, self._config.short_side_px, self._stride, of["mean"], of["std"])
        model, device = self._model, self._config.device
        model.to(device)
        dense = model.forward_intermediates(pixels.to(device), indices=1, norm=True, output_fmt="NCHW", intermediates_only=True)
        return normalize(dense[-1], dim=1)[0].cpu()


def _create(config: TimmConfig) -> Any:
    import distill.torchvision_operators  # noqa: F401, before timm

    # isort: split
    import timm  # here, since it takes seconds

    where = f"timm model {config.model!r}, weights {config.weights!r}"
    if not timm.is_model(config.model):
        near = ", ".join(timm.list_models(f"*{config.model.split('.')[0].split('_')[0]}*")[:5])
        raise CheckpointError(f"{where}: no such model; expected one of timm.list_models(){', such as ' + near if near else ''}.")
    options: dict[str, Any] = {"pretrained": config.weights is None, "num_classes": 0}
    try:
        try:
            model = timm.create_model(config.model, dynamic_img_size=True, **options)  # any size, positions interpolated
        except TypeError:
            model = timm.create_model(config.model, **options)  # a network without position embeddings
        if config.weights is not None:
            _load(model, config.weights)
    except Exception as error:  # a file of weights can be wrong in as many ways as there are errors
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise CheckpointError(
            f"{where}: {reason}. Give `weights` the path of a checkpoint of this model in timm's format, or run where its hub is "
            "within reach."
        ) from error
    if not hasattr(model, "forward_intermediates") or not hasattr(model, "feature_info"):
        raise ConfigError(f"teacher timm: {config.model!r} has no dense features; take a ViT or a convolutional backbone.")
    return model


def _load(model: Any, path: str) -> None:
    """Loads weights, all of the backbone's and none but the classifier's besides: timm itself would leave what lacks random."""
    import timm

    classifier = model.pretrained_cfg.get("classifier") or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    state = timm.models.load_state_dict(path, weights_only=True)
    model.load_state_dict({name: value for name, value in state.items() if name.rpartition(".")[0] not in heads})
