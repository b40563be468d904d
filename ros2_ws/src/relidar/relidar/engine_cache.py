"""TensorRT engines of a bundle, kept in its engines/ folder: <key>.plan with a side-car <key>.json.

An engine fits one ONNX file, runtime, version, GPU class, precision and range of shapes. All of these make the key, so that no
stale or foreign engine is ever found; the side-car holds the plan's own hash, so that a cut or changed plan is never loaded.
"""

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from relidar.atomic import atomic_file, write_text
from relidar.bundle import DENSE_FP16_ONNX, ENGINES, Bundle, Manifest, Precision, sha256_file
from relidar.config_file import Model
from relidar.executor import FEATURES
from relidar.rulebook import STRIDED_OFFSETS, SUBMANIFOLD_OFFSETS

Runtime = Literal["tensorrt", "tensorrt-rtx"]


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
    """The optimisation profile: every input of the dense graph over the bundle's level capacities."""
    levels = manifest.student.levels
    columns = {FEATURES: (0, len(manifest.preprocessing.features))}
    columns |= {f"submanifold_{level}": (level, SUBMANIFOLD_OFFSETS) for level in range(levels)}
    for level in range(levels - 1):
        columns |= {f"down_{level}": (level + 1, STRIDED_OFFSETS), f"up_{level}": (level, STRIDED_OFFSETS)}
    shapes = {}
    for name, (level, width) in columns.items():
        rows = manifest.capacities[level]
        shapes[name] = InputShapes(min=(rows.min, width), opt=(rows.opt, width), max=(rows.max, width))
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
    plan = plan_path(bundle, key)
    side_car = plan.with_suffix(".json")
    if not plan.is_file() or not side_car.is_file():
        return f"no engine for {key.runtime} {key.version} {key.target} {key.precision} in {plan.parent}"
    try:
        content = SideCar.model_validate_json(side_car.read_bytes())
    except (OSError, ValidationError):
        return f"{side_car} is not a side-car"
    if content.key != key:
        return f"{side_car} is the side-car of another engine"
    if plan.stat().st_size != content.plan_bytes or sha256_file(plan) != content.plan_sha256:
        return f"{plan} was cut or changed"
    return None


def store_plan(bundle: Bundle, key: EngineKey, plan: bytes) -> Path:
    """Writes plan, then side-car, each whole or not at all; a plan without its side-car does not count."""
    path = plan_path(bundle, key)
    path.with_suffix(".json").unlink(missing_ok=True)
    with atomic_file(path) as temporary:
        temporary.write_bytes(plan)
    side_car = SideCar(key=key, plan_sha256=hashlib.sha256(plan).hexdigest(), plan_bytes=len(plan))
    write_text(path.with_suffix(".json"), side_car.model_dump_json(indent=1))
    return path
