"""Trains the `pixel_text` teacher on images of simulated streets, of seeds that no dataset uses.

As in LSeg (Li et al., ICLR 2022): each pixel's feature is compared with the embeddings of the label words, and a cross entropy
makes the right word win. A class is as near as its nearest word. Crops are drawn evenly over classes.

The weights that relidar ships were made with these settings, in 80 minutes on one core once the images were there:

    python -m distill.teachers.train_pixel_text --steps 2400 --out first.safetensors
    python -m distill.teachers.train_pixel_text --steps 1900 --lr 2.5e-3 --init first.safetensors --out second.safetensors
    python -m distill.teachers.train_pixel_text --steps 6500 --init second.safetensors --out pixel_text.safetensors
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from distill.teachers import street_pictures
from distill.teachers.label_words import LabelWords
from distill.teachers.labelled_crops import Images, cell_labels, draw_crops, images_by_row
from distill.teachers.street_network import StreetNetwork
from distill.teachers.street_teacher import load_network, save_network
from relidar import command_line
from relidar.prompts import UNLABELLED

TAU = 0.07
BATCH = 4
PIXELS = 4096


def train(network: StreetNetwork, words: LabelWords, images: Images, labels: Images, steps: int, lr: float) -> None:
    """Trains on random crops of (H, W, 3) images and (H, W) rows of `words`, 255 being ignored."""
    generator = np.random.default_rng(0)
    network = nn.utils.convert_conv2d_weight_memory_format(network.train(), torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    images_of_row = images_by_row(labels, len(words.names))
    progress = tqdm(range(steps), desc="pixel_text", unit="step")
    for _ in progress:
        crops, crop_labels = draw_crops(images, labels, images_of_row, BATCH, generator)
        pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255.0
        target = torch.from_numpy(cell_labels(crop_labels)).reshape(-1).long()
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


def main() -> None:
    """The command."""
    parser = command_line.parser(__doc__)
    street_pictures.add_arguments(parser)
    parser.add_argument("--steps", type=command_line.at_least(1), default=3000, help="optimiser steps of 4 crops")
    parser.add_argument("--lr", type=command_line.above_zero, default=3e-3, help="peak learning rate")
    parser.add_argument("--init", type=Path, help="weights to go on from")
    parser.add_argument("--out", type=Path, required=True, help="weights to write (safetensors)")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    network = load_network(arguments.init, "pixel_text") if arguments.init else StreetNetwork()
    pictures = street_pictures.take(arguments)
    train(network, pictures.words, pictures.images, pictures.labels, arguments.steps, arguments.lr)
    save_network(network, arguments.out)
    street_pictures.say_quality(network, pictures)


if __name__ == "__main__":
    command_line.run(main)
