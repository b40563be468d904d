"""A trained student becomes a bundle: both ONNX lowerings, the text bank, a golden scan, and a manifest with every hash.

The dense lowering is written in half precision too, so that a vehicle can choose. With a text encoder, new words can be
embedded on the vehicle too.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.checkpoint import StudentCheckpoint
from distill.student import LEVELS, Student
from distill.text_encoders import TextEncoder
from distill.torch_executor import TorchExecutor
from export.dense import dense_onnx
from export.half import in_half_precision
from export.onnx_graph import write_onnx
from export.pairs import pairs_onnx
from export.program import lower
from export.text_tower import write_text_encoder
from relidar.atomic import atomic_file, atomic_folder
from relidar.bundle import (
    CPU_PROGRAM,
    DENSE_FP16_ONNX,
    DENSE_ONNX,
    ENGINES,
    GOLDEN,
    MANIFEST,
    PAIRS_ONNX,
    REQUIRED,
    TEXT_BANK,
    TEXT_ENCODER,
    Capacity,
    CapacityRule,
    Manifest,
    StudentFacts,
    open_bundle,
    sha256_file,
    write_manifest,
)
from relidar.errors import BundleError, CheckpointError, CloudError, ConfigError, TextError
from relidar.program import Convolution, Linear, Program
from relidar.program_file import save_program
from relidar.rulebook import build_rulebook
from relidar.text_bank import save_text_bank
from relidar.text_encoder import TextEncoder as VehicleEncoder
from relidar.voxels import Preprocessing, voxelise
from relidar.words import Words

CAPACITY_PERCENTILE = 99.0
CAPACITY_HEADROOM = 1.5
"""An engine takes up to this many times the percentile's voxels: a scan sees more in a street than on an empty road."""


@dataclass(frozen=True)
class RawScan:
    """One scan as the sensor gives it."""

    xyz_m: NDArray[np.float32]
    """(N, 3) in the sensor frame."""
    intensity: NDArray[np.float32]
    """(N,) in the sensor's unit."""


def write_bundle(
    checkpoint: StudentCheckpoint,
    scans: Sequence[RawScan],
    out: Path,
    unknown_threshold: float = -1.0,
    text_encoder: TextEncoder | None = None,
) -> None:
    """Writes the bundle `out`, replacing what was there only when all of it is written.

    Engines of an older bundle stay where the network is the same to the byte; any other network needs new ones.

    Args:
        checkpoint: the student and what belongs to it.
        scans: at least one scan of the sensor that the student was trained for; the first becomes the golden scan, all of
            them set the engine's capacities.
        out: the bundle's folder.
        unknown_threshold: cosine below which a point stays unlabelled.
        text_encoder: the one that made the checkpoint's text bank, to put into the bundle; None leaves it out.

    Raises:
        BundleError: the text does not fit the classes or the student; or the bundle cannot be written, as on a full disk.
        CheckpointError: a student that cannot be lowered.
        CloudError: no scans, or a first scan without a voxel.
        ConfigError: `out` is a file, or a folder that is not a bundle.
        TextError: a text encoder that did not make the bank, or that cannot be exported.
    """
    if not scans:
        raise CloudError("export: no scans; a bundle needs at least one for its golden answer and its capacities.")
    _refuse_foreign(out)
    voxels_by_scan = [level_voxels(scan, checkpoint.preprocessing) for scan in scans]
    if not voxels_by_scan[0][0]:
        raise CloudError("export: the first scan has no point in range; expected a usual scan, give another.")
    _check_text(checkpoint)
    program = lowered(checkpoint.student)
    with _told_where(out), atomic_folder(out) as folder:
        write_onnx(dense_onnx(program), folder / DENSE_ONNX)
        write_onnx(dense_onnx(in_half_precision(program)), folder / DENSE_FP16_ONNX)
        write_onnx(pairs_onnx(program), folder / PAIRS_ONNX)
        save_program(program, folder / CPU_PROGRAM)
        save_text_bank(checkpoint.text, folder / TEXT_BANK)
        if text_encoder is not None:
            write_text_encoder(text_encoder, checkpoint.text, checkpoint.prompt_set.templates, folder)
        names = (*REQUIRED, DENSE_FP16_ONNX, CPU_PROGRAM, *(TEXT_ENCODER if text_encoder is not None else ()))
        features = reference_features(checkpoint.student, checkpoint.preprocessing, scans[0])
        with atomic_file(folder / GOLDEN) as temporary:
            np.savez(temporary, xyz_m=scans[0].xyz_m, intensity=scans[0].intensity, features=features)
        manifest = Manifest(
            student=StudentFacts(
                architecture=checkpoint.student.config.architecture, levels=program.levels, feature_width=program.feature_width
            ),
            training=checkpoint.training,
            preprocessing=checkpoint.preprocessing,
            capacities=capacities(voxels_by_scan),
            capacity_rule=CapacityRule(percentile=CAPACITY_PERCENTILE, headroom=CAPACITY_HEADROOM, scans=len(scans)),
            classes=checkpoint.prompt_set.classes,
            unknown_threshold=unknown_threshold,
            sha256={name: sha256_file(folder / name) for name in names},
        )
        write_manifest(folder, manifest)
        bundle = open_bundle(folder)  # what the vehicle would refuse is not written
        bundle.golden()
        VehicleEncoder.open(bundle)
        _keep_engines(out, folder)


@contextmanager
def _told_where(out: Path) -> Iterator[None]:
    """Says of an error of the file system, as on a full disk, what became of the bundle."""
    try:
        yield
    except OSError as error:
        raise BundleError(
            f"{out}: cannot be written ({error}); free space or choose another --out. What was there is as it was."
        ) from error


def lowered(student: Student) -> Program:
    """The student's program; raises CheckpointError where it cannot be lowered, or where a weight is not a finite number."""
    program = lower(student)
    for step in program.steps:
        if isinstance(step, Convolution | Linear) and not (np.isfinite(step.weight).all() and np.isfinite(step.bias).all()):
            layer = step.table if isinstance(step, Convolution) else "a linear layer"
            raise CheckpointError(
                f"export: the student's weights in {layer} (value {step.output}) are not all finite numbers; training has "
                "diverged, so take an earlier checkpoint or train again with a lower learning rate."
            )
    return program


def _check_text(checkpoint: StudentCheckpoint) -> None:
    """Before minutes of work: every prompt has an embedding, as wide as the student's features."""
    prompt_set, width = checkpoint.prompt_set, checkpoint.student.feature_width
    try:
        words = Words.of_classes(prompt_set.classes, checkpoint.text)
    except TextError as error:
        raise BundleError(f"prompt set {prompt_set.name!r}: {error}") from error
    if words.text.shape[1] != width:
        raise BundleError(
            f"prompt set {prompt_set.name!r}: text embeddings are {words.text.shape[1]} wide, the student's features {width}; "
            "export with a bank of the encoder that the student was trained for."
        )


def level_voxels(scan: RawScan, preprocessing: Preprocessing) -> tuple[int, ...]:
    """V of each level of one scan."""
    voxels = voxelise(scan.xyz_m, scan.intensity, preprocessing)
    return build_rulebook(voxels.coordinates, LEVELS).voxels


def capacities(voxels_by_scan: Sequence[Sequence[int]]) -> tuple[Capacity, ...]:
    """Per level: min 1, opt the median, max CAPACITY_HEADROOM times the 99th percentile over the scans (S, L).

    The first scan fits in any case: it is the golden scan, which every engine must answer.
    """
    counts = np.asarray(voxels_by_scan)
    typical = np.ceil(np.median(counts, axis=0))
    high = np.maximum(np.ceil(CAPACITY_HEADROOM * np.percentile(counts, CAPACITY_PERCENTILE, axis=0)), counts[0])
    return tuple(Capacity(min=1, opt=max(1, int(opt)), max=max(1, int(top))) for opt, top in zip(typical, high, strict=True))


def reference_features(student: Student, preprocessing: Preprocessing, scan: RawScan) -> NDArray[np.float32]:
    """(V, D) unit rows of one scan by torch, the reference of all executors."""
    voxels = voxelise(scan.xyz_m, scan.intensity, preprocessing)
    return TorchExecutor(student)(voxels.features, build_rulebook(voxels.coordinates, LEVELS))


def _keep_engines(old: Path, new: Path) -> None:
    """Copies the engines of an older bundle of the same network; their keys hide those that the new capacities do not fit."""
    engines, onnx = old / ENGINES, old / DENSE_ONNX
    if engines.is_dir() and onnx.is_file() and sha256_file(onnx) == sha256_file(new / DENSE_ONNX):
        shutil.copytree(engines, new / ENGINES)


def _refuse_foreign(out: Path) -> None:
    """Only an empty place or an older bundle may be replaced: a mistyped --out must not delete a folder of something else."""
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise ConfigError(f"{out}: a folder that is not a bundle; expected a new path or an older bundle, choose another --out.")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: a file; expected the path of a folder for the bundle.")
