"""Trains the `pixel_text` teacher on images of simulated streets, of seeds that no dataset uses.

As in LSeg (Li et al., ICLR 2022): each pixel's feature is compared with the embeddings of the label words, and a cross entropy
makes the right word win. A class is as near as its nearest word. Crops are drawn evenly over classes.

The weights that relidar ships were made with these settings, in 80 minutes on one core once the images were there:

    python -m distill.teachers.train_pixel_text --steps 2400 --out first.safetensors
    python -m distill.teachers.train_pixel_text --steps 1900 --lr 2.5e-3 --init first.safetensors --out second.safetensors
    python -m distill.teachers.train_pixel_text --steps 6500 --init second.safetensors --out pixel_text.safetensors
"""

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from distill.street.images import labelled_images
from distill.street.rig import Rig
from distill.teachers.pixel_text import PixelTextNetwork
from distill.text_encoders import make_text_encoder
from relidar import command_line, config_file
from relidar.atomic import atomic_file
from relidar.label_map import load_label_map
from relidar.metrics import Confusion
from relidar.prompts import UNLABELLED, load_prompt_set

SKY = "sky"
SKY_PIXEL = 255  # in the street's label images
TAU = 0.07
BATCH = 4
PIXELS = 4096
CROP = (192, 320)
MIN_PIXELS = 50


class LabelWords:
    """The label words' embeddings, and each category's class among them."""

    def __init__(self, prompts: Path, label_map: Path) -> None:
        mapped = load_label_map(label_map)
        prompts_of = {c.name: c.prompts for c in load_prompt_set(prompts).classes}
        words = [[word for name in entry.predicted for word in prompts_of[name]] for entry in mapped.classes] + [[SKY]]
        self.names = (*mapped.names, SKY)
        self.first = np.cumsum([0] + [len(group) for group in words])
        self.embeddings = torch.from_numpy(make_text_encoder("sentence").encode([word for group in words for word in group]))
        self.row_of_category = mapped.truth_lookup()[:256]
        self.row_of_category[SKY_PIXEL] = len(mapped.classes)

    def logits(self, features: Tensor) -> Tensor:
        """(R, D) unit features -> (R, classes) best cosine of each class."""
        cosine = features @ self.embeddings.T
        return torch.stack([cosine[:, a:b].amax(dim=1) for a, b in zip(self.first, self.first[1:], strict=False)], dim=1)


Images = list[NDArray[np.uint8]]


def train(network: PixelTextNetwork, words: LabelWords, images: Images, labels: Images, steps: int, lr: float) -> None:
    """Trains on random crops of (H, W, 3) images and (H, W) rows of `words`, 255 being ignored."""
    generator = np.random.default_rng(0)
    network = network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    images_of_row = images_by_row(labels, len(words.names))
    rows_present = [row for row, indices in enumerate(images_of_row) if len(indices)]
    progress = tqdm(range(steps), desc="pixel_text", unit="step")
    for _ in progress:
        drawn_rows = generator.choice(rows_present, BATCH)
        drawn_images = [generator.choice(images_of_row[row]) for row in drawn_rows]
        crops = [_crop(images[i], labels[i], row, generator) for i, row in zip(drawn_images, drawn_rows, strict=True)]
        pixels = torch.from_numpy(np.stack([crop for crop, _ in crops])).permute(0, 3, 1, 2).float() / 255.0
        target = torch.from_numpy(np.stack([label for _, label in crops]))[:, 2::4, 2::4].reshape(-1).long()
        rows = network.trunk(pixels).permute(0, 2, 3, 1).flatten(0, 2)
        drawn = torch.from_numpy(generator.permutation(len(rows))[:PIXELS])
        logits = words.logits(network.embed(rows[drawn])) / TAU
        loss = nn.functional.cross_entropy(logits, target[drawn], ignore_index=UNLABELLED)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        progress.set_postfix(loss=f"{loss.item():.3f}")
    network.eval()


def images_by_row(labels: Images, rows: int) -> list[NDArray[np.intp]]:
    """For each row of the words the images that show it on at least MIN_PIXELS pixels."""
    counts = np.stack([np.bincount(label.ravel(), minlength=256)[:rows] for label in labels])
    return [np.flatnonzero(counts[:, row] >= MIN_PIXELS) for row in range(rows)]


def _crop(
    image: NDArray[np.uint8], label: NDArray[np.uint8], row: int, generator: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A crop around a random pixel of `row`, so that rare classes are seen as often as the road."""
    seen = np.flatnonzero(label == row)
    pixel = np.array(divmod(int(seen[generator.integers(len(seen))]), label.shape[1]))
    size = np.array(CROP)
    top, left = np.clip(pixel - generator.integers(0, size), 0, np.array(label.shape) - size)
    image, label = (array[top : top + size[0], left : left + size[1]] for array in (image, label))
    if generator.random() < 0.5:
        image, label = image[:, ::-1], label[:, ::-1]
    gain = generator.uniform(0.8, 1.2) * generator.uniform(0.93, 1.07, 3)
    return np.clip(image * gain, 0, 255).astype(np.uint8), label


@torch.inference_mode()
def evaluate(words: LabelWords, network: PixelTextNetwork, images: Images, labels: Images) -> dict[str, float]:
    """IoU in percent of each class that occurs, over every fourth pixel of every fourth row."""
    confusion = Confusion(words.names)
    for image, label in zip(images, labels, strict=True):
        features = network(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255.0)[0]
        rows = words.logits(features.flatten(1).T).argmax(dim=1).numpy()
        height, width = features.shape[1:]
        row, column = (np.minimum(4 * np.arange(n) + 2, m - 1) for n, m in zip((height, width), label.shape, strict=True))
        confusion.update(label[row[:, None], column].ravel(), rows.astype(np.uint8))
    return {name: iou for name, iou in confusion.iou_percent().items() if iou is not None}


def main() -> None:
    """The command."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--images", type=int, default=1000, help="training images")
    parser.add_argument("--test-images", type=int, default=100, help="images of other seeds to measure with")
    parser.add_argument("--seed", type=int, default=0, help="of the cities; none is ever a dataset's")
    parser.add_argument("--rig", type=Path, default=Path("configs/rigs/nuscenes_like.yaml"), help="size and lenses of the images")
    parser.add_argument("--steps", type=int, default=3000, help="optimiser steps of 4 crops")
    parser.add_argument("--lr", type=float, default=3e-3, help="peak learning rate")
    parser.add_argument("--prompts", type=Path, default=Path("configs/prompts/nuscenes16.yaml"), help="label words")
    parser.add_argument("--label-map", type=Path, default=Path("configs/label_maps/nuscenes32.yaml"), help="category -> class")
    parser.add_argument("--init", type=Path, help="weights to go on from")
    parser.add_argument("--out", type=Path, required=True, help="weights to write (safetensors)")
    arguments = parser.parse_args()
    words = LabelWords(arguments.prompts, arguments.label_map)
    rig = config_file.load(arguments.rig, Rig)
    count = arguments.images + arguments.test_images
    pictures = labelled_images(arguments.seed, count, rig, processes=os.cpu_count() or 1)
    pairs = [(image, words.row_of_category[category]) for image, category in tqdm(pictures, "street images", count, unit="image")]
    images, labels = [image for image, _ in pairs], [label for _, label in pairs]
    torch.manual_seed(arguments.seed)
    network = PixelTextNetwork()
    if arguments.init:
        network.load_state_dict(load_file(arguments.init))
    train(network, words, images[: arguments.images], labels[: arguments.images], arguments.steps, arguments.lr)
    iou = evaluate(words, network, images[arguments.images :], labels[arguments.images :])
    with atomic_file(arguments.out) as temporary:
        half = {name: value.half() if value.is_floating_point() else value for name, value in network.state_dict().items()}
        save_file({name: value.contiguous() for name, value in half.items()}, temporary)
    for name, value in iou.items():
        command_line.say(f"{name:24s} {value:5.1f}")
    command_line.say(f"{'mean IoU':24s} {np.mean(list(iou.values())):5.1f}")


if __name__ == "__main__":
    command_line.run(main)
