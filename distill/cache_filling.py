"""Fills a teacher cache: runs the teacher over the keyframes of a dataset that it has not seen yet."""

from pathlib import Path

from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from distill.config import TrainConfig
from distill.datasets import read_keyframes
from distill.keyframe import Keyframe
from distill.teacher_cache import TeacherCache, TeacherView, view_keyframe
from distill.teachers import make_teacher
from distill.worker_errors import plain_worker_errors


class _Views(Dataset[int]):
    """Item i views keyframe i and writes it, so that the loader's workers share the work."""

    def __init__(self, frames: list[Keyframe], config: TrainConfig) -> None:
        self._frames = frames
        self._config = config
        self._teacher = make_teacher(config.teacher)
        self._cache = open_cache(config, self._teacher.fingerprint)

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> int:
        """Views one keyframe unless its view is there already; returns 1 if it was computed."""
        frame = self._frames[index]
        if self._cache.has(frame):
            return 0
        self._cache.write(frame, self._view(frame))
        return 1

    def _view(self, frame: Keyframe) -> TeacherView:
        config = self._config
        mirrored = config.augment.image_flip
        return view_keyframe(frame, self._teacher, config.superpixels, config.occlusion, config.pairing, mirrored)


def open_cache(config: TrainConfig, teacher_fingerprint: str) -> TeacherCache:
    """The cache of a training configuration."""
    made_from = config.superpixels, config.data, config.occlusion, config.pairing, config.augment.image_flip
    return TeacherCache(Path(config.cache), teacher_fingerprint, *made_from)


def fill_cache(config: TrainConfig, workers: int, rank: int = 0, world_size: int = 1, split: str | None = None) -> int:
    """Views every `world_size`-th keyframe of a split from `rank` on, in so many processes; returns how many were computed.

    The split is that of training unless another is named.
    """
    frames = read_keyframes(config.data, split or config.data.train_split)[rank::world_size]
    context = "forkserver" if workers else None
    loader = DataLoader(_Views(frames, config), batch_size=None, num_workers=workers, multiprocessing_context=context)
    with plain_worker_errors():
        return sum(int(computed) for computed in tqdm(loader, desc="teacher views", unit="keyframe", disable=rank > 0))
