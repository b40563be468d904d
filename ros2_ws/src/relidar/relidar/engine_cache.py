"""TensorRT engines of a bundle, kept in its engines/ folder: <key>.plan with a side-car <key>.json.

An engine fits one ONNX file, runtime, version, GPU class, precision and range of shapes. All of these make the key, so that no
stale or foreign engine is ever found; the side-car holds the plan's own hash, so that a cut or changed plan is never loaded.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from relidar.atomic import atomic_file, write_text
from relidar.bundle import DENSE_FP16_ONNX, ENGINES, Bundle, Manifest, Precision
from relidar.config_file import Model
from relidar.dense_graph import CLASS_OF_PROMPT, QUERIES, TEXT
from relidar.errors import BackendError
from relidar.executor import FEATURES
from relidar.rulebook import STRIDED_OFFSETS, SUBMANIFOLD_OFFSETS
from relidar.words import MOST_PROMPTS, MOST_QUERIES

Runtime = Literal["tensorrt", "tensorrt-rtx"]

USUAL_PROMPTS = 32
"""What engines are tuned for."""


class InputShapes(Model):
    """The smallest, usual and largest shape of one input."""

    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]


class EngineKey(Model):
    """All that an engine depends on."""

    onnx_sha256: str
    runtime: Runtime
    version: str
    """Of the runtime: a plan loads only in the version that wrote it."""
    target: str
    """GPU class, e.g. "sm86"."""
    precision: Precision
    profile: dict[str, InputShapes]

    @property
    def digest(self) -> str:
        """The key as a file name."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:32]


class SideCar(Model):
    """What <key>.json says about <key>.plan."""

    key: EngineKey
    plan_sha256: str
    plan_bytes: int


def input_shapes(manifest: Manifest) -> dict[str, InputShapes]:
    """The optimisation profile: every input of the dense graph, over the bundle's level capacities and any number of words.

    It does not depend on the manifest's prompts, so that other prompts need no other engine.
    """
    levels = manifest.student.levels
    columns = {FEATURES: (0, len(manifest.preprocessing.features))}
    columns |= {f"submanifold_{level}": (level, SUBMANIFOLD_OFFSETS) for level in range(levels)}
    for level in range(levels - 1):
        columns |= {f"down_{level}": (level + 1, STRIDED_OFFSETS), f"up_{level}": (level, STRIDED_OFFSETS)}
    shapes = {}
    for name, (level, width) in columns.items():
        rows = manifest.capacities[level]
        shapes[name] = InputShapes(min=(rows.min, width), opt=(rows.opt, width), max=(rows.max, width))
    width = manifest.student.feature_width
    shapes[TEXT] = InputShapes(min=(1, width), opt=(USUAL_PROMPTS, width), max=(MOST_PROMPTS, width))
    shapes[CLASS_OF_PROMPT] = InputShapes(min=(1,), opt=(USUAL_PROMPTS,), max=(MOST_PROMPTS,))
    shapes[QUERIES] = InputShapes(min=(1, width), opt=(1, width), max=(MOST_QUERIES, width))
    return shapes


def engine_key(bundle: Bundle, runtime: Runtime, version: str, target: str, precision: Precision = "fp32") -> EngineKey:
    """The key of a bundle's engine; raises BundleError where the bundle lacks a network of this precision."""
    onnx_sha256 = bundle.manifest.sha256[bundle.dense_graph(precision)]
    profile = input_shapes(bundle.manifest)
    return EngineKey(
        onnx_sha256=onnx_sha256, runtime=runtime, version=version, target=target, precision=precision, profile=profile
    )


def preferred_key(bundle: Bundle, runtime: Runtime, version: str, target: str) -> EngineKey:
    """The key of the fp16 engine where a whole one lies, since it is faster and never built unasked; else of the fp32 engine."""
    if DENSE_FP16_ONNX in bundle.manifest.sha256:
        key = engine_key(bundle, runtime, version, target, "fp16")
        if plan_fault(bundle, key) is None:
            return key
    return engine_key(bundle, runtime, version, target)


def plan_path(bundle: Bundle, key: EngineKey) -> Path:
    """Where the plan of this key lies, or would lie."""
    return bundle.path / ENGINES / f"{key.digest}.plan"


def plan_fault(bundle: Bundle, key: EngineKey) -> str | None:
    """Why the plan of this key cannot be used, or None if it can: it is there, whole and the one that was written for the key."""
    plan = _checked_plan(bundle, key)
    return plan if isinstance(plan, str) else None


def load_plan(bundle: Bundle, key: EngineKey) -> bytes:
    """The plan of this key, read once, so that what was checked is what is loaded; raises BackendError if it has a fault."""
    plan = _checked_plan(bundle, key)
    if isinstance(plan, str):
        raise BackendError(f"{key.runtime}: {plan}; run `python -m export.trt {bundle.path}` on this machine.")
    return plan


def _checked_plan(bundle: Bundle, key: EngineKey) -> bytes | str:
    """The plan, or its fault."""
    path = plan_path(bundle, key)
    side_car = path.with_suffix(".json")
    if not path.is_file() or not side_car.is_file():
        return f"no engine for {key.runtime} {key.version} {key.target} {key.precision} in {path.parent}"
    try:
        content = SideCar.model_validate_json(side_car.read_bytes())
    except (OSError, ValidationError):
        return f"{side_car} is not a side-car"
    if content.key != key:
        return f"{side_car} is the side-car of another engine"
    try:
        plan = path.read_bytes()
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    if len(plan) != content.plan_bytes or hashlib.sha256(plan).hexdigest() != content.plan_sha256:
        return f"{path} was cut or changed"
    return plan


def store_plan(bundle: Bundle, key: EngineKey, plan: bytes) -> Path:
    """Writes plan, then side-car, each whole or not at all; a plan without its side-car does not count. To be called `building`.

    Raises:
        BackendError: they cannot be written, as on a full disk; the rest of the bundle is as it was.
    """
    path = plan_path(bundle, key)
    side_car = SideCar(key=key, plan_sha256=hashlib.sha256(plan).hexdigest(), plan_bytes=len(plan))
    try:
        path.with_suffix(".json").unlink(missing_ok=True)
        with atomic_file(path) as temporary:
            temporary.write_bytes(plan)
        write_text(path.with_suffix(".json"), side_car.model_dump_json(indent=1))
    except OSError as error:
        raise BackendError(
            f"{path}: the engine of {len(plan)} bytes cannot be written ({error.strerror}); free space or make the folder "
            "writable, and run the command again. The rest of the bundle is as it was."
        ) from error
    return path


@contextmanager
def building(bundle: Bundle) -> Iterator[None]:
    """One process at a time builds engines of a bundle; the others wait, and then find what it built.

    What a builder that was killed has left half written is removed.

    The lock is the kernel's, on the bundle's folder: it leaves no file behind and ends with its process, however that ends. Where
    the file system has no locks, several may build the same, which costs time only: plans are put in place whole.
    """
    folder = os.open(bundle.path, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(folder, fcntl.LOCK_EX)
            # Only under the lock: without it another may be writing them now.
            _remove_half_written(bundle.path / ENGINES)
        yield
    finally:
        os.close(folder)


def _remove_half_written(engines: Path) -> None:
    for ending in ("plan", "json"):
        for left in engines.glob(f".*.{ending}.*.{ending}"):  # as `atomic_file` names them
            with suppress(OSError):
                left.unlink()
