"""The words that street teachers are trained with, and how well a network tells them apart."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distill.structure import text_outside_image
from distill.teachers.labelled_crops import Images, cell_labels
from distill.teachers.street_network import StreetNetwork
from distill.text_encoders import make_text_encoder
from relidar.label_map import load_label_map
from relidar.metrics import Confusion
from relidar.prompts import load_prompt_set

SKY = "sky"
SKY_PIXEL = 255  # in the street's label images


class LabelWords:
    """The label words' embeddings, and each category's class among them."""

    def __init__(self, prompts: Path, label_map: Path) -> None:
        mapped = load_label_map(label_map)
        prompts_of = {c.name: c.prompts for c in load_prompt_set(prompts).classes}
        self.words = [[word for name in entry.predicted for word in prompts_of[name]] for entry in mapped.classes] + [[SKY]]
        self.names = (*mapped.names, SKY)
        self.first = np.cumsum([0] + [len(group) for group in self.words])
        self.encoder = make_text_encoder("sentence")
        self.embeddings = torch.from_numpy(self.encoder.encode([word for group in self.words for word in group]))
        self.row_of_category = mapped.truth_lookup()[:256]
        self.row_of_category[SKY_PIXEL] = len(mapped.classes)

    def logits(self, features: Tensor) -> Tensor:
        """(R, D) unit features -> (R, classes) best cosine of each class."""
        cosine = features @ self.embeddings.T
        return torch.stack([cosine[:, a:b].amax(dim=1) for a, b in zip(self.first, self.first[1:], strict=False)], dim=1)


@torch.inference_mode()
def unit_cells(network: StreetNetwork, image: NDArray[np.uint8], label: NDArray[np.uint8]) -> tuple[Tensor, NDArray[np.uint8]]:
    """(H, W, 3) image, (H, W) labels -> (R, D) unit features of the network's cells and (R,) their labels."""
    features = network(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255.0)[0]
    return features.flatten(1).T, cell_labels(label).ravel()


@torch.inference_mode()
def evaluate(words: LabelWords, network: StreetNetwork, images: Images, labels: Images) -> dict[str, float]:
    """IoU in percent of each class that occurs, over every fourth pixel of every fourth row."""
    confusion = Confusion(words.names)
    for image, label in zip(images, labels, strict=True):
        features, truth = unit_cells(network, image, label)
        confusion.update(truth, words.logits(features).argmax(dim=1).numpy().astype(np.uint8))
    return {name: iou for name, iou in confusion.iou_percent().items() if iou is not None}


@torch.inference_mode()
def text_image_gap(words: LabelWords, network: StreetNetwork, images: Images, labels: Images) -> dict[str, float]:
    """How the image features of the labelled cells lie to the label words; every class that occurs weighs the same.

    Returns:
        modality_gap: ||mean image feature - mean word|| (Liang et al., NeurIPS 2022); from 0 to 2.
        image_outside_text: share of the image features' energy that no mixture of the words reaches; from 0 to 1.
        text_outside_image: share of the differences between words that lies where the image features hardly vary (see
            `distill.structure`).
        cosine: mean cosine of an image feature and its class's nearest word.
    """
    span, _ = torch.linalg.qr(words.embeddings.T)
    classes, width = len(words.names), words.embeddings.shape[1]
    total, moment, cosine, count = (torch.zeros(classes, *shape) for shape in ((width,), (width, width), (), ()))
    for image, label in zip(images, labels, strict=True):
        features, truth = unit_cells(network, image, label)
        known = torch.from_numpy(truth < classes)
        x, row = features[known], torch.from_numpy(truth[truth < classes]).long()
        total.index_add_(0, row, x)
        for seen_row in row.unique().tolist():
            members = x[row == seen_row]
            moment[seen_row] += members.T @ members
        cosine.index_add_(0, row, words.logits(x).gather(1, row[:, None])[:, 0])
        count.index_add_(0, row, torch.ones(len(row)))
    seen = count > 0
    text = torch.stack([words.embeddings[a:b].mean(dim=0) for a, b in zip(words.first, words.first[1:], strict=False)])
    image_mean = (total[seen] / count[seen, None]).mean(dim=0)
    energy = (moment[seen] / count[seen, None, None]).mean(dim=0)
    return {
        "modality_gap": float((image_mean - text[seen].mean(dim=0)).norm()),
        "image_outside_text": float(1.0 - (span.T @ energy @ span).trace() / energy.trace()),
        "text_outside_image": float(text_outside_image(words.embeddings, energy)),
        "cosine": float((cosine[seen] / count[seen]).mean()),
    }
