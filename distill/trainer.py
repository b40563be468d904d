"""The training of a student, as `python -m distill.train` does it: resumable, on one process or many."""

import hashlib
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import distill.torchvision_operators  # noqa: F401, before lightning

# isort: split
import lightning
import numpy as np
import torch
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch.utils.data import DataLoader

from distill.cache_filling import open_cache
from distill.checkpoint import StudentCheckpoint, read_tensors, save_student
from distill.config import TextConfig, TrainConfig
from distill.datasets import read_keyframes
from distill.provenance import commit
from distill.scans import ScanBatch, StepSampler, TrainingScans, collate
from distill.shared_batch_norm import share_batch_norm
from distill.student import Student
from distill.teachers import Teacher, make_teacher
from distill.text_encoders import embed_prompts, make_text_encoder
from distill.torchsparse_conv import use_torchsparse
from distill.training_module import Distillation
from distill.worker_errors import plain_worker_errors
from relidar import config_file
from relidar.atomic import atomic_file, write_text
from relidar.bundle import TrainingFacts
from relidar.errors import CheckpointError, ConfigError
from relidar.prompts import PromptSet, load_prompt_set
from relidar.text_bank import TextBank
from relidar.words import Words

CONFIG = "config.yaml"
LAST = "last.ckpt"
STUDENT = "student.pt"


class AtomicCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoints, whole at every moment: written beside their place and renamed."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Writes a checkpoint."""
        with atomic_file(Path(path)) as temporary:
            torch.save(checkpoint, temporary)


class Scans(lightning.LightningDataModule):
    """Training scans from the step on at which training starts or goes on."""

    def __init__(self, scans: TrainingScans, config: TrainConfig) -> None:
        super().__init__()
        self._scans = scans
        self._schedule = config.schedule

    def transfer_batch_to_device(self, batch: ScanBatch, device: torch.device, dataloader_idx: int) -> ScanBatch:
        """Moves a batch."""
        return batch.to(device)

    def train_dataloader(self) -> DataLoader[ScanBatch]:
        """Batches of the steps that are left."""
        trainer = self.trainer
        if trainer is None:
            raise RuntimeError("the data module needs its trainer, whose step tells where to start")
        sampler = StepSampler(
            trainer.global_step, self._schedule.steps, self._schedule.batch_scans, trainer.global_rank, trainer.world_size
        )
        workers: dict[str, Any] = {}
        if self._schedule.workers:
            workers = {"num_workers": self._schedule.workers, "multiprocessing_context": "forkserver", "prefetch_factor": 4}
        loader: DataLoader[Any] = DataLoader(self._scans, batch_sampler=sampler, collate_fn=collate, **workers)
        return loader


def train(config: TrainConfig) -> Path:
    """Trains to the end of the schedule and returns the path of student.pt; resumes if the run has a checkpoint."""
    code = commit()  # asked before hours of training, in which the checkout may move on
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    lightning.seed_everything(config.seed, verbose=False)
    run = Path(config.run)
    _settle_run_folder(run, config)
    teacher = make_teacher(config.teacher)
    prompt_set = load_prompt_set(Path(config.text.prompts))
    text = _text_bank(config.text, teacher, prompt_set)
    frames = read_keyframes(config.data, config.data.train_split)
    scans = TrainingScans(frames, open_cache(config, teacher.fingerprint), config)
    scans[0]  # a missing cache is told before the trainer starts
    student = Student(config.student, len(config.preprocessing.features), text.embeddings.shape[1])
    if config.convolution == "torchsparse":
        use_torchsparse(student)
    module = Distillation(config, student, Words.of_classes(prompt_set.classes, text) if text.prompts else None)
    trainer = _trainer(config, run)
    if trainer.world_size > 1:
        share_batch_norm(student)
    last = run / LAST
    _check_resumable(last)
    with plain_worker_errors(), warnings.catch_warnings():
        # Resuming in a folder in use, mid-epoch, with few workers is what we want; the rest is Lightning's own.
        expected = (
            "logging interval|exists and is not empty|not resumable|does not have many workers|LeafSpec|isinstance.treespec"
        )
        warnings.filterwarnings("ignore", message=f".*({expected})")
        trainer.fit(module, datamodule=Scans(scans, config), ckpt_path=str(last) if last.exists() else None, weights_only=True)
        if trainer.global_step % config.schedule.checkpoint_every:
            trainer.save_checkpoint(last)  # whoever is killed before the student is written has not to train again
    facts = TrainingFacts(commit=code, config_sha256=_config_hash(config), steps=trainer.global_step)
    if trainer.is_global_zero:
        save_student(StudentCheckpoint(student.eval(), config.preprocessing, prompt_set, text, facts), run / STUDENT)
    return run / STUDENT


def _text_bank(config: TextConfig, teacher: Teacher, prompt_set: PromptSet) -> TextBank:
    """The prompts in the student's space, which is the teacher's and the spare dimensions.

    There are none where no text shares the teacher's space, so that the student can be trained further but not asked.

    Raises:
        ConfigError: an encoder of another space.
    """
    if config.encoder not in (None, teacher.text_encoder):
        raise ConfigError(
            f"text.encoder is {config.encoder}, but the teacher's space is that of {teacher.text_encoder or 'no text encoder'}; "
            "leave text.encoder out to take the teacher's."
        )
    if teacher.text_encoder is None:
        return TextBank("none", (), np.zeros((0, teacher.feature_width + config.spare_dimensions), np.float32))
    text = embed_prompts(make_text_encoder(teacher.text_encoder), prompt_set)
    if text.embeddings.shape[1] != teacher.feature_width:
        raise ConfigError(
            f"text encoder {teacher.text_encoder} is {text.embeddings.shape[1]} wide, its teacher {teacher.feature_width}; use "
            "weights of one and the same model for both."
        )
    return replace(text, embeddings=np.pad(text.embeddings, ((0, 0), (0, config.spare_dimensions))))


def _trainer(config: TrainConfig, run: Path) -> lightning.Trainer:
    checkpoints = ModelCheckpoint(
        run, filename="last", every_n_train_steps=config.schedule.checkpoint_every, enable_version_counter=False
    )
    return lightning.Trainer(
        accelerator="auto",
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        num_nodes=int(os.environ.get("GROUP_WORLD_SIZE", "1")),
        precision=config.schedule.precision,
        max_steps=config.schedule.steps,
        max_epochs=-1,
        logger=TensorBoardLogger(run, name="log", version=""),
        log_every_n_steps=10,
        callbacks=[checkpoints, TQDMProgressBar()],
        plugins=[AtomicCheckpoints()],
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def _check_resumable(last: Path) -> None:
    """Raises CheckpointError if there is a checkpoint to resume from that was cut short."""
    if last.exists() and "state_dict" not in read_tensors(last):
        raise CheckpointError(f"{last}: not a checkpoint of the trainer; remove it to start again.")


def _settle_run_folder(run: Path, config: TrainConfig) -> None:
    """Writes the resolved configuration, or refuses to go on with a run that was started with another.

    Files that a killed process was just writing are removed: they are as large as the checkpoint.
    """
    refuse_other_config(run, config)
    if os.environ.get("RANK", "0") == "0":
        for file in (LAST, STUDENT):
            for left_over in run.glob(f".{file}.*"):
                left_over.unlink(missing_ok=True)
    write_text(run / CONFIG, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def refuse_other_config(run: Path, config: TrainConfig) -> None:
    """Raises ConfigError if the run's folder holds what was trained with another configuration."""
    resolved = run / CONFIG
    trained = (run / LAST).exists() or (run / STUDENT).exists()
    if not trained or not resolved.exists():
        return
    there, asked = (dict(_values(c.model_dump(mode="json"))) for c in (config_file.load(resolved, TrainConfig), config))
    other = [f"{key} {there.get(key)}, not {asked.get(key)}" for key in there | asked if there.get(key) != asked.get(key)]
    if other:
        raise ConfigError(f"{run}: holds a run with another configuration: {'; '.join(other)}. Choose another folder for runs.")


def _values(content: Mapping[str, Any], section: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of all that is no section."""
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _values(value, f"{section}{name}.")
        else:
            yield section + name, value


def _config_hash(config: TrainConfig) -> str:
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()
