"""The street teachers: what ships, what training learns, that it goes on where it stopped, what is refused."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
import yaml

from distill.teachers import StreetTeacherConfig, make_teacher, train_pixel_text, train_street_clip
from distill.teachers.captions import MIN_CELLS, NAMED_AT_MOST, captioned_regions
from distill.teachers.label_words import SKY_PIXEL, LabelWords, evaluate, text_image_gap
from distill.teachers.labelled_crops import Images, cell_labels, draw_crops
from distill.teachers.street_network import PLANES, StreetNetwork
from distill.teachers.street_teacher import StreetTeacher, StreetTeacherKind, save_network, shipped_weights
from relidar.errors import CheckpointError

CONFIGS = Path(__file__).parents[3] / "configs"
KINDS = get_args(StreetTeacherKind)


@pytest.fixture(scope="module")
def words() -> LabelWords:
    return LabelWords(CONFIGS / "prompts/nuscenes16.yaml", CONFIGS / "label_maps/nuscenes32.yaml")


@pytest.fixture(scope="module")
def two_colours(words: LabelWords) -> tuple[Images, Images]:
    """Grey road to the left of blue sky."""
    generator = np.random.default_rng(0)
    images, labels = [], []
    for _ in range(4):
        label = np.full((192, 320), words.row_of_category[24], np.uint8)
        label[:, int(generator.integers(80, 240)) :] = words.row_of_category[SKY_PIXEL]
        images.append(np.where(label[..., None] == words.row_of_category[24], (60, 60, 60), (120, 170, 240)).astype(np.uint8))
        labels.append(label)
    return images, labels


@pytest.mark.parametrize("kind", KINDS)
def test_the_shipped_weights_are_small_and_give_unit_features(kind: StreetTeacherKind) -> None:
    assert shipped_weights(kind).stat().st_size < 3e6
    teacher = make_teacher(StreetTeacherConfig(kind=kind))
    features = teacher(np.random.default_rng(0).integers(0, 256, (98, 162, 3), dtype=np.uint8))
    assert features.shape == (384, 25, 41)
    torch.testing.assert_close(features.norm(dim=0), torch.ones(25, 41))
    assert teacher.text_encoder == "sentence"


def test_each_kind_has_its_own_fingerprint() -> None:
    assert len({StreetTeacher(kind).fingerprint for kind in KINDS}) == len(KINDS)


def test_label_words_cover_the_classes_and_the_sky(words: LabelWords) -> None:
    assert words.names[words.row_of_category[17]] == "car"
    assert words.names[words.row_of_category[SKY_PIXEL]] == "sky"
    assert words.row_of_category[0] == 255
    own = torch.stack([words.embeddings[first] for first in words.first[:-1]])
    assert words.logits(own).argmax(dim=1).tolist() == list(range(len(words.names)))


def test_pixel_text_learns_to_tell_two_colours(words: LabelWords, two_colours: tuple[Images, Images]) -> None:
    torch.manual_seed(0)
    network = StreetNetwork()
    train_pixel_text.train(network, words, *two_colours, steps=8, lr=4e-3)
    iou = evaluate(words, network, *two_colours)
    assert set(iou) == {"driveable_surface", "sky"}
    assert min(iou.values()) > 70


def test_street_clip_learns_and_goes_on_where_it_stopped(
    words: LabelWords, two_colours: tuple[Images, Images], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_street_clip, "SAVE_EVERY", 4)

    def train(stop_before_step: int, state: Path | None) -> StreetNetwork:
        torch.manual_seed(0)
        network = train_street_clip.fresh_head(StreetNetwork(), seed=1)
        lengths = iter(range(stop_before_step))  # next() fails at that step, as a training that is stopped does
        monkeypatch.setattr(train_street_clip, "draw_crops", lambda *drawn: (next(lengths), draw_crops(*drawn))[1])
        train_street_clip.train(network, words, *two_colours, steps=8, lr=4e-2, state=state)
        return network

    straight = train(8, None)
    assert min(evaluate(words, straight, *two_colours).values()) > 70
    with pytest.raises(StopIteration):
        train(6, tmp_path / "state.pt")
    resumed = train(4, tmp_path / "state.pt")  # two of the six are done again
    for name, value in straight.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, atol=1e-6, rtol=1e-5)


def test_symmetric_info_nce_equals_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    image, text = (torch.nn.functional.normalize(torch.randn(5, 7, generator=generator, dtype=torch.float64)) for _ in "it")
    total = 0.0
    for i in range(5):
        to_text = [float(9.0 * image[i] @ text[j]) for j in range(5)]
        to_image = [float(9.0 * image[j] @ text[i]) for j in range(5)]
        for row in (to_text, to_image):
            total += np.log(np.exp(row).sum()) - row[i]
    assert train_street_clip.symmetric_info_nce(image, text, torch.tensor(9.0)).item() == pytest.approx(total / 10)


def test_regions_are_captioned_with_what_they_hold() -> None:
    generator = np.random.default_rng(0)
    words = [["ash"], ["birch", "beech"], ["cedar"], ["oak"]]
    labels = np.full((48, 80), 255, np.uint8)
    labels[:20, :50], labels[20:, 10:60], labels[10:40, 40:] = 0, 1, 3
    named_at_once = set()
    for _ in range(20):
        for region in captioned_regions(labels, words, 4, generator):
            assert region.mask.sum() >= MIN_CELLS
            named = {row for row, group in enumerate(words) if any(word in region.caption for word in group)}
            assert 1 <= len(named) <= NAMED_AT_MOST
            assert named <= set(np.unique(labels[region.mask]).tolist())
            if len(named) == 1:
                assert set(np.unique(labels[region.mask]).tolist()) == named
            named_at_once.add(len(named))
    assert named_at_once == {1, 2, 3}


def test_pooled_regions_are_means_over_their_cells(words: LabelWords) -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 4, (2, 6, 9)).astype(np.uint8)
    trunk = torch.randn(2, PLANES[0], 6, 9)
    regions = [captioned_regions(of_image, words.words, 1, generator) for of_image in labels]
    expected = [trunk[i][:, torch.from_numpy(region.mask)].mean(dim=1) for i in range(2) for region in regions[i]]
    torch.testing.assert_close(train_street_clip.pool_regions(trunk, regions), torch.stack(expected))


def test_cell_labels_are_those_of_the_middle_pixels() -> None:
    labels = np.arange(9 * 14, dtype=np.uint8).reshape(9, 14)
    assert cell_labels(labels).tolist() == [[labels[min(r, 8), min(c, 13)] for c in (2, 6, 10, 13)] for r in (2, 6, 8)]


class _Answers(StreetNetwork):
    """Answers with given unit features of each label, which it reads off the image's first channel."""

    def __init__(self, of_row: torch.Tensor) -> None:
        super().__init__()
        self.of_row = of_row

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows = (images[0, 0, 2::4, 2::4] * 255).round().long()
        return self.of_row[rows].permute(2, 0, 1)[None]


def test_gap_is_nought_for_the_words_themselves_and_grows_with_what_lies_outside_their_span(words: LabelWords) -> None:
    label = np.zeros((16, 4 * len(words.names)), np.uint8)
    label[:] = np.repeat(np.arange(len(words.names)), 4)
    image = np.repeat(label[..., None], 3, axis=2)
    text = torch.stack([words.embeddings[a:b].mean(dim=0) for a, b in zip(words.first, words.first[1:], strict=False)])
    gap = text_image_gap(words, _Answers(torch.nn.functional.normalize(text, dim=1)), [image], [label])
    assert gap["image_outside_text"] == pytest.approx(0, abs=1e-5)
    gap = text_image_gap(words, _Answers(text), [image], [label])
    assert gap["modality_gap"] == pytest.approx(0, abs=1e-6)
    span = torch.linalg.qr(words.embeddings.T)[0]
    away = torch.randn(384, generator=torch.Generator().manual_seed(0))
    away = torch.nn.functional.normalize(away - span @ (span.T @ away), dim=0)
    nearest = words.embeddings[words.first[:-1]]
    shifted = text_image_gap(words, _Answers(0.6 * nearest + 0.8 * away), [image], [label])
    assert shifted["image_outside_text"] == pytest.approx(0.64, abs=1e-4)
    assert shifted["cosine"] == pytest.approx(0.6, abs=1e-4)
    assert text_image_gap(words, _Answers(away.expand(len(text), -1)), [image], [label])["text_outside_image"] > 0.99
    axes = torch.linalg.qr(torch.randn(384, len(text), generator=torch.Generator().manual_seed(1)))[0]
    differences = words.embeddings - words.embeddings.mean(dim=0)
    inside = float((differences @ axes).square().sum() / differences.square().sum())
    assert text_image_gap(words, _Answers(axes.T), [image], [label])["text_outside_image"] == pytest.approx(1 - inside, abs=1e-4)
    centre = 0.6 * nearest.mean(dim=0) + 0.8 * away - text.mean(dim=0)
    assert shifted["modality_gap"] == pytest.approx(float(centre.norm()), abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_other_weights_are_refused(tmp_path: Path, kind: StreetTeacherKind) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(CheckpointError, match=f"train_{kind}"):
        StreetTeacher(kind, str(path))
    save_network(StreetNetwork(), path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=f"not weights of the {kind} teacher"):
        StreetTeacher(kind, str(path))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_command_trains_writes_weights_and_says_how_good_they_are(kind: StreetTeacherKind, tmp_path: Path) -> None:
    rig = yaml.safe_load((CONFIGS / "rigs/nuscenes_like.yaml").read_text()) | {"image_width": 320, "image_height": 192}
    (tmp_path / "rig.yaml").write_text(yaml.safe_dump(rig))
    words = ["--images", "2", "--test-images", "1", "--steps", "1", "--rig", str(tmp_path / "rig.yaml")]
    command = [sys.executable, "-m", f"distill.teachers.train_{kind}", *words, "--out", str(tmp_path / "w.safetensors")]
    done = subprocess.run(command, cwd=CONFIGS.parent, check=True, capture_output=True, text=True)
    assert "mean IoU" in done.stdout
    assert "modality_gap" in done.stdout
    StreetTeacher(kind, str(tmp_path / "w.safetensors"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rig.yaml", "w.safetensors"]
