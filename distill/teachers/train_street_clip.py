"""Trains the `street_clip` teacher: regions of street images against captions, with CLIP's symmetric InfoNCE, text tower frozen.

As in CLIP (Radford et al., ICML 2021) and LiT (Zhai et al., CVPR 2022): in a batch of regions and captions each region shall be
nearest to its own caption and each caption to its own region, at a temperature that is learnt. So only the differences between
captions matter, and nothing draws image features to where the words are: the gap between text and image (Liang et al., NeurIPS
2022). The network starts from pixel_text's trunk, with a new last layer, and is the weaker teacher: on unseen cities it reaches
61.5 % mean IoU over pixels against pixel_text's 77.6 %. The weights that relidar ships were made so, in 24 minutes of one core
that did other work, too:

    python -m distill.teachers.train_street_clip --out street_clip.safetensors

A state beside the weights (OUT.state.pt) lets a training that was stopped go on; it is removed at the end.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from distill.checkpoint import read_tensors
from distill.teachers import street_pictures
from distill.teachers.captions import Region, captioned_regions
from distill.teachers.label_words import LabelWords
from distill.teachers.labelled_crops import Images, cell_labels, draw_crops, images_by_row
from distill.teachers.street_network import FEATURE_WIDTH, PLANES, StreetNetwork
from distill.teachers.street_teacher import load_network, save_network, shipped_weights
from distill.text_encoders import TextEncoder
from relidar import command_line
from relidar.atomic import atomic_file

BATCH = 4
WINDOWS = 3
FIRST_TAU = 0.07
LEAST_TAU = 0.01
SAVE_EVERY = 50


class CaptionEmbeddings:
    """The frozen text tower, each caption embedded once."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._rows: dict[str, Tensor] = {}

    def __call__(self, captions: list[str]) -> Tensor:
        """C captions -> (C, D) unit rows."""
        new = [caption for caption in dict.fromkeys(captions) if caption not in self._rows]
        if new:
            self._rows.update(zip(new, torch.from_numpy(self._encoder.encode(new)), strict=True))
        return torch.stack([self._rows[caption] for caption in captions])


def symmetric_info_nce(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    """(CE(scale I T^T, diagonal) + CE(scale T I^T, diagonal)) / 2 of (R, D) unit rows; scale is 1 / tau."""
    logits = scale * image @ text.T
    target = torch.arange(len(image))
    return (nn.functional.cross_entropy(logits, target) + nn.functional.cross_entropy(logits.T, target)) / 2


def pool_regions(trunk: Tensor, regions: list[list[Region]]) -> Tensor:
    """(B, C, h, w) features, the regions of each image -> (R, C) mean over each region's cells."""
    pooled = []
    for features, of_image in zip(trunk, regions, strict=True):
        masks = torch.from_numpy(np.stack([region.mask.ravel() for region in of_image])).float()
        pooled.append((masks / masks.sum(dim=1, keepdim=True)) @ features.flatten(1).T)
    return torch.cat(pooled)


def train(
    network: StreetNetwork, words: LabelWords, images: Images, labels: Images, steps: int, lr: float, state: Path | None = None
) -> None:
    """Trains on random crops of (H, W, 3) images and (H, W) rows of `words`; goes on from `state` if that file is there."""
    network = nn.utils.convert_conv2d_weight_memory_format(network.train(), torch.channels_last)
    log_scale = nn.Parameter(torch.tensor(math.log(1.0 / FIRST_TAU)))
    # The last layer is new and learns ten times as fast as what comes before it.
    head = [parameter for name, parameter in network.named_parameters() if name.startswith("head.")]
    body = [parameter for name, parameter in network.named_parameters() if not name.startswith("head.")]
    groups: list[dict[str, Any]] = [
        {"params": body, "lr": lr / 10},
        {"params": head},
        {"params": [log_scale], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [lr / 10, lr, lr], total_steps=steps, pct_start=0.1)
    first = 0
    if state and state.exists():
        saved = read_tensors(state)
        first = saved["step"]
        network.load_state_dict(saved["network"])
        log_scale.data.copy_(saved["log_scale"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
    embed = CaptionEmbeddings(words.encoder)
    images_of_row = images_by_row(labels, len(words.names))
    progress = tqdm(range(first, steps), desc="street_clip", unit="step", initial=first, total=steps)
    for step in progress:
        generator = np.random.default_rng([step, 1])  # so that a training that goes on draws what it would have drawn
        crops, targets = draw_crops(images, labels, images_of_row, BATCH, generator)
        regions = [captioned_regions(target, words.words, WINDOWS, generator) for target in cell_labels(targets)]
        text = embed([region.caption for of_image in regions for region in of_image])
        trunk = network.trunk(torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255.0)
        loss = symmetric_info_nce(network.embed(pool_regions(trunk, regions)), text, log_scale.exp())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        log_scale.data.clamp_(max=math.log(1.0 / LEAST_TAU))
        progress.set_postfix(loss=f"{loss.item():.3f}", tau=f"{math.exp(-log_scale.item()):.3f}", regions=len(text))
        if state and (step + 1) % SAVE_EVERY == 0:
            saved = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
            with atomic_file(state) as temporary:
                torch.save({**saved, "log_scale": log_scale.data, "step": step + 1}, temporary)
    network.eval()


def fresh_head(network: StreetNetwork, seed: int) -> StreetNetwork:
    """The network with a new, random last layer."""
    torch.manual_seed(seed)
    network.head = nn.Linear(PLANES[0], FEATURE_WIDTH)
    return network


def main() -> None:
    """The command."""
    parser = command_line.parser(__doc__)
    street_pictures.add_arguments(parser)
    parser.add_argument("--steps", type=command_line.at_least(1), default=800, help="optimiser steps of 4 crops")
    parser.add_argument(
        "--lr", type=command_line.above_zero, default=3e-3, help="peak learning rate of the last layer, ten times the others'"
    )
    parser.add_argument("--init", type=Path, default=shipped_weights("pixel_text"), help="weights of all but the last layer")
    parser.add_argument("--out", type=Path, required=True, help="weights to write (safetensors)")
    arguments = parser.parse_args()
    network = fresh_head(load_network(arguments.init, "pixel_text"), arguments.seed)
    pictures = street_pictures.take(arguments)
    state = arguments.out.with_name(arguments.out.name + ".state.pt")
    train(network, pictures.words, pictures.images, pictures.labels, arguments.steps, arguments.lr, state)
    save_network(network, arguments.out)
    state.unlink(missing_ok=True)
    street_pictures.say_quality(network, pictures)


if __name__ == "__main__":
    command_line.run(main)
