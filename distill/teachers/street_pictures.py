"""The pictures that the commands of the street teachers train and measure with, and what they say at the end."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from distill.street.images import labelled_images
from distill.street.rig import Rig
from distill.teachers.label_words import LabelWords, evaluate, text_image_gap
from distill.teachers.labelled_crops import Images
from distill.teachers.street_network import StreetNetwork
from relidar import command_line, config_file
from relidar.row_parts import cores


@dataclass(frozen=True)
class StreetPictures:
    """Pictures and their labels, (H, W) rows of the words; the test's show other cities."""

    words: LabelWords
    images: Images
    labels: Images
    test_images: Images
    test_labels: Images


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that choose pictures and words."""
    parser.add_argument("--images", type=command_line.at_least(1), default=1000, help="training images")
    others = "images of other cities to measure with"
    parser.add_argument("--test-images", type=command_line.at_least(1), default=100, help=others)
    parser.add_argument("--seed", type=command_line.at_least(0), default=0, help="of the cities; none is ever a dataset's")
    parser.add_argument("--rig", type=Path, default=Path("configs/rigs/nuscenes_like.yaml"), help="size and lenses of the images")
    parser.add_argument("--prompts", type=Path, default=Path("configs/prompts/nuscenes16.yaml"), help="label words")
    parser.add_argument("--label-map", type=Path, default=Path("configs/label_maps/nuscenes32.yaml"), help="category -> class")


def take(arguments: argparse.Namespace) -> StreetPictures:
    """Renders the pictures that the arguments choose."""
    words = LabelWords(arguments.prompts, arguments.label_map)
    rig = config_file.load(arguments.rig, Rig)
    count = arguments.images + arguments.test_images
    pictures = labelled_images(arguments.seed, count, rig, processes=cores())
    pairs = [(image, words.row_of_category[category]) for image, category in tqdm(pictures, "street images", count, unit="image")]
    images, labels = [image for image, _ in pairs], [label for _, label in pairs]
    split = arguments.images
    return StreetPictures(words, images[:split], labels[:split], images[split:], labels[split:])


def say_quality(network: StreetNetwork, pictures: StreetPictures) -> None:
    """Prints the IoU over the test's pixels and how image and text lie to each other."""
    test = pictures.test_images, pictures.test_labels
    iou = evaluate(pictures.words, network, *test)
    for name, value in iou.items():
        command_line.say(f"{name:24s} {value:5.1f}")
    command_line.say(f"{'mean IoU':24s} {np.mean(list(iou.values())):5.1f}")
    for name, value in text_image_gap(pictures.words, network, *test).items():
        command_line.say(f"{name:24s} {value:7.3f}")
