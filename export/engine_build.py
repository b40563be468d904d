"""Builds TensorRT plans: native TensorRT for the GPU of this machine, TensorRT-RTX ahead of time for any GPU it knows."""

import re
from pathlib import Path
from typing import Any

from relidar.bundle import Bundle, Precision
from relidar.cuda_device import target_of_device
from relidar.dense_graph import OPSET
from relidar.engine_cache import EngineKey, Runtime, building, engine_key, plan_fault, plan_path, store_plan
from relidar.errors import BackendError
from relidar.executor import UNIT_FEATURES
from relidar.trt_executor import import_runtime

AHEAD_OF_TIME = "sm86"
"""What TensorRT-RTX builds for where there is no GPU to ask."""
FP16_ONLY = ("sm75",)
"""Targets that TensorRT-RTX builds only in half precision."""


def installed_runtime() -> Runtime:
    """Native TensorRT where it imports, else TensorRT-RTX; raises BackendError where neither does."""
    try:
        import_runtime("tensorrt")
    except BackendError as native:
        try:
            import_runtime("tensorrt-rtx")
        except BackendError as rtx:
            raise BackendError(f"no TensorRT here:\n  {native}\n  {rtx}") from None
        return "tensorrt-rtx"
    return "tensorrt"


def default_target(runtime: Runtime) -> str:
    """The GPU of this machine; where there is none, what TensorRT-RTX can build ahead of time. Raises BackendError."""
    try:
        return target_of_device()
    except BackendError:
        if runtime == "tensorrt":
            raise
        return AHEAD_OF_TIME


def build_engine(bundle: Bundle, runtime: Runtime, target: str, precision: Precision = "fp32") -> tuple[Path, bool]:
    """The plan of a bundle for one target: (its path, whether it was built now rather than found whole in engines/).

    Raises:
        BundleError: the bundle lacks a network of this precision.
        BackendError: the runtime does not know the target, cannot parse the graph or cannot build it; says why.
    """
    trt = import_runtime(runtime)
    key = engine_key(bundle, runtime, trt.__version__, target, precision)
    if plan_fault(bundle, key) is None:
        return plan_path(bundle, key), False
    with building(bundle):
        if plan_fault(bundle, key) is None:  # another process has built it meanwhile
            return plan_path(bundle, key), False
        return store_plan(bundle, key, _plan(trt, bundle.path / bundle.dense_graph(precision), key)), True


def _plan(trt: Any, onnx: Path, key: EngineKey) -> bytes:
    log = _error_log(trt)
    builder = trt.Builder(log)
    config = builder.create_builder_config()
    _set_target(trt, config, key)
    # TF32 rounds to 10 bits of mantissa: faster, but no longer the reference's answer.
    config.clear_flag(trt.BuilderFlag.TF32)
    network = builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(onnx.read_bytes()):
        faults = [f"{parser.get_error(i).node_operator()}: {parser.get_error(i).desc()}" for i in range(parser.num_errors)]
        raise BackendError(f"{onnx}: {key.runtime} {key.version} cannot parse it: {'; '.join(faults)}. Report this.")
    if log.opset not in (None, OPSET):
        raise BackendError(
            f"{onnx}: of opset {log.opset}, expected {OPSET}; {key.runtime} reads any, whatever its nodes mean. The bundle was "
            "made by another version of relidar: export it again from its checkpoint."
        )
    _drop_features(network)
    inputs = {network.get_input(index).name for index in range(network.num_inputs)}
    if wrong := inputs ^ set(key.profile):
        raise BackendError(
            f"{onnx}: does not take the inputs of this version ({', '.join(sorted(wrong))} are on one side only); the bundle was "
            "made by another version of relidar: export it again from its checkpoint."
        )
    profile = builder.create_optimization_profile()
    for name, shapes in key.profile.items():
        profile.set_shape(name, shapes.min, shapes.opt, shapes.max)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        reason = "; ".join(log.messages) or "no reason given"
        raise BackendError(
            f"{onnx}: {key.runtime} {key.version} cannot build it for {key.target}: {reason}. "
            "Free memory, export with fewer voxels, or report this."
        )
    return bytes(plan)


def _drop_features(network: Any) -> None:
    """An engine gives scores; the features are as wide as the text embeddings, and nobody on the vehicle asks for them."""
    for index in reversed(range(network.num_outputs)):
        output = network.get_output(index)
        if output.name == UNIT_FEATURES:
            network.unmark_output(output)


def _network_flags(trt: Any) -> int:
    """Strong typing: each layer runs in the precision that the graph gives it. Later runtimes than TensorRT 10 know no other."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _set_target(trt: Any, config: Any, key: EngineKey) -> None:
    if key.runtime == "tensorrt":
        device = target_of_device()
        if key.target != device:
            raise BackendError(
                f"tensorrt builds for the GPU of this machine, {device}, not for {key.target}; run this on the vehicle, or "
                "install the extra `rtx` instead of `gpu`, which builds ahead of time."
            )
        return
    known = sorted(name.lower() for name in trt.ComputeCapability.__members__ if name.startswith("SM"))
    usable = [name for name in known if key.precision == "fp16" or name not in FP16_ONLY]
    if key.target not in usable:
        raise BackendError(
            f"target {key.target!r}: {key.runtime} {key.version} builds {key.precision} engines for {', '.join(usable)}; "
            "give one of these."
        )
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.__members__[key.target.upper()], 0)


def _error_log(trt: Any) -> Any:
    """A logger that keeps errors for the exception instead of printing them, and the opset that the parser tells nobody else."""

    class ErrorLog(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.messages: list[str] = []
            self.opset: int | None = None

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.messages.append(message)
            if found := re.match(r"opset version:\s*(\d+)", message, re.IGNORECASE):
                self.opset = int(found[1])

    return ErrorLog()
