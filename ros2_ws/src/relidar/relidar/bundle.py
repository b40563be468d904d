"""The bundle: the folder that crosses from export to the vehicle, and the only thing that does.

manifest.yaml        what the student is, how its input is made, its classes, and the sha256 of every other file
student.onnx         dense lowering (TensorRT, CUDA)      student-pairs.onnx  CPU lowering
student-fp16.onnx    optional: dense lowering in half precision (TensorRT)
student-cpu.safetensors  optional: the program itself (compiled-cpu); student-cpu-int8.safetensors: with a calibration
text.safetensors     prompt embeddings
golden.npz           one scan and the reference's answer, which every executor must reproduce
text_encoder/        optional: the text tower, its tokenizer and its templates, for words that the bank lacks
engines/             TensorRT plans with their side-cars; not hashed here, since each vehicle builds its own
"""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import Field, model_validator

from relidar.atomic import write_text
from relidar.config_file import Model, read_yaml, validate
from relidar.errors import BundleError, ConfigError, TextError
from relidar.prompts import ClassPrompts, check_distinct
from relidar.text_bank import TextBank, load_text_bank
from relidar.voxels import Preprocessing
from relidar.words import Words

FORMAT_VERSION: Literal[1] = 1
MANIFEST = "manifest.yaml"
DENSE_ONNX = "student.onnx"
DENSE_FP16_ONNX = "student-fp16.onnx"
PAIRS_ONNX = "student-pairs.onnx"
CPU_PROGRAM = "student-cpu.safetensors"
CPU_INT8_PROGRAM = "student-cpu-int8.safetensors"
TEXT_BANK = "text.safetensors"
GOLDEN = "golden.npz"
ENGINES = "engines"
REQUIRED = (DENSE_ONNX, PAIRS_ONNX, TEXT_BANK, GOLDEN)

Precision = Literal["fp32", "fp16", "int8"]
DENSE_GRAPHS: dict[Precision, str] = {"fp32": DENSE_ONNX, "fp16": DENSE_FP16_ONNX}

TEXT_ONNX = "text_encoder/encoder.onnx"
TEXT_TOKENIZER = "text_encoder/tokenizer.json"
TEXT_CONFIG = "text_encoder/config.yaml"
TEXT_ENCODER = (TEXT_ONNX, TEXT_TOKENIZER, TEXT_CONFIG)
"""What a bundle with a text encoder holds besides: all of them or none."""

Count = Annotated[int, Field(ge=1)]


class StudentFacts(Model):
    """What the network is."""

    architecture: str
    levels: Count
    feature_width: Count
    """D of the output, as wide as the text embeddings."""


class TrainingFacts(Model):
    """Where the weights come from."""

    commit: str
    config_sha256: str
    steps: int


class Capacity(Model):
    """Voxels of one level that an engine is built for."""

    min: Count
    opt: Count
    max: Count

    @model_validator(mode="after")
    def _ordered(self) -> "Capacity":
        if not self.min <= self.opt <= self.max:
            raise ValueError(f"capacities min {self.min}, opt {self.opt}, max {self.max} are not in this order")
        return self


class CapacityRule(Model):
    """Where the capacities come from: max is `headroom` times the `percentile` over `scans` scans, opt their median."""

    percentile: float
    headroom: float
    scans: Count


class Manifest(Model):
    """The contents of manifest.yaml."""

    format_version: Literal[1] = FORMAT_VERSION
    student: StudentFacts
    training: TrainingFacts
    preprocessing: Preprocessing
    capacities: tuple[Capacity, ...]
    """One a level, finest first."""
    capacity_rule: CapacityRule | None = None
    """None in bundles of older exports."""
    classes: Annotated[tuple[ClassPrompts, ...], Field(min_length=1)]
    unknown_threshold: Annotated[float, Field(ge=-1, le=1)] = -1.0
    """A point whose best cosine is lower stays unlabelled."""
    tolerance: Annotated[float, Field(gt=0)] = 1e-4
    """Largest difference to the golden features that an executor may show."""
    tolerance_fp16: Annotated[float, Field(gt=0)] = 1e-2
    """The same for one in half precision."""
    tolerance_int8: Annotated[float, Field(gt=0)] = 0.3
    """The same for one in int8, whose worst voxel says little: the share of labels that it keeps counts."""
    sha256: dict[str, str]
    """Of every file of the bundle, by its path in the bundle."""

    def tolerance_of(self, precision: Precision) -> float:
        """Largest difference to the golden features that an executor of this precision may show."""
        return {"fp32": self.tolerance, "fp16": self.tolerance_fp16, "int8": self.tolerance_int8}[precision]

    @model_validator(mode="after")
    def _distinct(self) -> "Manifest":
        check_distinct(self.classes)
        return self


@dataclass(frozen=True)
class Golden:
    """One scan and the reference's features."""

    xyz_m: NDArray[np.float32]
    """(N, 3) in the sensor frame."""
    intensity: NDArray[np.float32]
    """(N,)"""
    features: NDArray[np.float32]
    """(V, D) unit rows from torch, in voxel order."""


@dataclass(frozen=True)
class Bundle:
    """An opened bundle whose files, hashes and shapes fit."""

    path: Path
    manifest: Manifest
    text: TextBank

    @property
    def has_text_encoder(self) -> bool:
        """Whether `relidar.text_encoder` can embed words that the bank lacks."""
        return TEXT_ONNX in self.manifest.sha256

    def words(self) -> Words:
        """The manifest's classes as an executor takes them."""
        return Words.of_classes(self.manifest.classes, self.text)

    def dense_graph(self, precision: Precision) -> str:
        """Name of the dense graph of one precision; raises BundleError where the export wrote none."""
        name = DENSE_GRAPHS[precision]
        if name not in self.manifest.sha256:
            raise BundleError(
                f"{self.path}: no {name}, so there is no {precision} network; export the bundle again from its checkpoint."
            )
        return name

    def golden(self) -> Golden:
        """Reads the golden scan; raises BundleError if it does not fit."""
        path = self.path / GOLDEN
        try:
            # Opened here, since np.load leaves a cut file open.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                golden = Golden(arrays["xyz_m"], arrays["intensity"], arrays["features"])
        except (OSError, KeyError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise BundleError(f"{path}: not a golden scan ({error}); export the bundle again.") from error
        width = self.manifest.student.feature_width
        named = {"points": golden.xyz_m, "intensity": golden.intensity, "features": golden.features}
        points, voxels = golden.intensity.size, golden.features.size // width
        shapes = {"points": (points, 3), "intensity": (points,), "features": (max(voxels, 1), width)}
        if any(array.shape != shapes[name] or array.dtype != np.float32 for name, array in named.items()):
            found = ", ".join(f"{name} {array.shape} {array.dtype}" for name, array in named.items())
            raise BundleError(
                f"{path}: {found}; expected (N, 3), (N,) and (V, {width}), V at least 1, all float32. Export the bundle again."
            )
        if not np.isfinite(golden.features).all():
            raise BundleError(f"{path}: features that are not finite, so nothing can reproduce them. Export the bundle again.")
        return golden


def open_bundle(path: Path) -> Bundle:
    """Opens a bundle and checks version, hashes and shapes; raises BundleError naming the file and what to do."""
    if not (path / MANIFEST).is_file():
        raise BundleError(f"{path}: no {MANIFEST} there; give the folder that `python -m export.trt CHECKPOINT --out B` wrote.")
    try:
        content = read_yaml(path / MANIFEST)
        _check_version(path, content)
        manifest = validate(content, Manifest, str(path / MANIFEST))
        with_text_encoder = any(name in manifest.sha256 for name in TEXT_ENCODER)
        for name in (*REQUIRED, *TEXT_ENCODER) if with_text_encoder else REQUIRED:
            if name not in manifest.sha256:
                raise BundleError(f"{path / MANIFEST}: no sha256 of {name}; export the bundle again.")
        for name, expected in manifest.sha256.items():
            _check_hash(path, name, expected)
        text = load_text_bank(path / TEXT_BANK)
        Words.of_classes(manifest.classes, text)
    except (ConfigError, TextError) as error:
        raise BundleError(str(error)) from error
    if text.embeddings.shape[1] != manifest.student.feature_width:
        raise BundleError(
            f"{path}: text embeddings are {text.embeddings.shape[1]} wide, the student's features "
            f"{manifest.student.feature_width}; export the bundle with the encoder that the student was trained for."
        )
    if len(manifest.capacities) != manifest.student.levels:
        raise BundleError(
            f"{path / MANIFEST}: {len(manifest.capacities)} capacities for {manifest.student.levels} levels; export again."
        )
    return Bundle(path, manifest, text)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes manifest.yaml into a folder."""
    write_text(folder / MANIFEST, yaml.safe_dump(manifest.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check_version(path: Path, content: dict[str, Any]) -> None:
    found = content.get("format_version")
    if found != FORMAT_VERSION:
        raise BundleError(
            f"{path / MANIFEST}: format_version is {found!r}, this relidar reads {FORMAT_VERSION}; "
            "export the bundle again or install the relidar that wrote it."
        )


def _check_hash(path: Path, name: str, expected: str) -> None:
    file = path / name
    if not file.resolve().is_relative_to(path.resolve()):
        raise BundleError(f"{path / MANIFEST}: names {name!r}, which lies outside the bundle; export the bundle again.")
    if not file.is_file():
        raise BundleError(f"{file}: missing, though the manifest lists it; copy the whole bundle or export it again.")
    found = sha256_file(file)
    if found != expected:
        raise BundleError(
            f"{file}: sha256 is {found[:12]}..., the manifest says {expected[:12]}...; the file was changed or cut. "
            "Copy the bundle again or export it again."
        )
