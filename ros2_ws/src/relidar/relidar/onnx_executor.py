"""ONNX Runtime executors: the pairs graph on the CPU, the dense graph on CUDA."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from relidar.bundle import PAIRS_ONNX, Bundle, Precision
from relidar.dense_graph import CLASS_OF_PROMPT, QUERIES, SCORE_OUTPUTS, TEXT, WORD_INPUTS, word_inputs
from relidar.errors import BackendError
from relidar.executor import FEATURES, UNIT_FEATURES
from relidar.rulebook import Rulebook
from relidar.words import VoxelScores, Words


class PairsExecutor:
    """student-pairs.onnx on the CPU."""

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        """Loads the graph.

        Args:
            bundle: an opened bundle.
            threads: of one operator; 0 = one a core.

        Raises:
            BackendError: ONNX Runtime cannot load the graph.
        """
        self.name = "onnxruntime-cpu"
        self.identity = _identity(bundle, PAIRS_ONNX)
        self._session = _session(bundle.path / PAIRS_ONNX, "CPUExecutionProvider", threads)
        self._tables = [i.name.removesuffix("_source") for i in self._session.get_inputs() if i.name.endswith("_source")]

    def __call__(self, features: NDArray[np.float32], rulebook: Rulebook) -> NDArray[np.float32]:
        """(V, C_in) -> (V, D) unit rows."""
        inputs: dict[str, Any] = {FEATURES: features, "voxels": np.array(rulebook.voxels, np.int64)}
        for table in self._tables:
            pairs = rulebook.pairs[table]
            inputs[f"{table}_source"] = pairs.source
            inputs[f"{table}_target"] = pairs.target
            inputs[f"{table}_count"] = np.diff(pairs.splits)
        (answer,) = _run(self._session, [UNIT_FEATURES], inputs, self.name)
        return answer

    def scores(self, features: NDArray[np.float32], rulebook: Rulebook, words: Words) -> VoxelScores:
        """(V, C_in) -> what each voxel scores."""
        return words.scores(self(features, rulebook))


class DenseExecutor:
    """The dense graph on CUDA, or on the CPU where only its agreement matters."""

    def __init__(self, bundle: Bundle, device: str = "cuda", threads: int = 0, precision: Precision = "fp32") -> None:
        """Loads the graph.

        Args:
            bundle: an opened bundle.
            device: "cuda" or "cpu".
            threads: of one operator on the CPU; 0 = one a core.
            precision: of the graph; half precision on the CPU is slow.

        Raises:
            BundleError: the bundle lacks a graph of this precision.
            BackendError: ONNX Runtime cannot load the graph or the device is not available.
        """
        self.name = f"onnxruntime-{device}" if device == "cuda" else f"onnxruntime-{device}-dense"
        if precision != "fp32":
            self.name += f"-{precision}"
        self.precision = precision
        self._width = bundle.manifest.student.feature_width
        graph = bundle.dense_graph(precision)
        self.identity = _identity(bundle, graph)
        provider = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
        # TF32 rounds to 10 bits of mantissa: faster, but no longer the reference's answer.
        self._session = _session(bundle.path / graph, provider, threads, {"use_tf32": "0"} if device == "cuda" else {})
        names = {i.name for i in self._session.get_inputs()}
        if not names.issuperset(WORD_INPUTS):
            raise BackendError(
                f"{bundle.path / graph}: takes no prompts; it was written before the network scored them itself. "
                "Export the bundle again from its checkpoint, or use a CPU backend."
            )
        self._tables = sorted(names - {FEATURES, *WORD_INPUTS})

    def __call__(self, features: NDArray[np.float32], rulebook: Rulebook) -> NDArray[np.float32]:
        """(V, C_in) -> (V, D) unit rows."""
        # The graph wants words, though the features do not depend on them.
        row = np.zeros((1, self._width), np.float32)
        inputs = {**self._inputs(features, rulebook), TEXT: row, CLASS_OF_PROMPT: np.zeros(1, np.int32), QUERIES: row}
        (answer,) = _run(self._session, [UNIT_FEATURES], inputs, self.name)
        return answer

    def scores(self, features: NDArray[np.float32], rulebook: Rulebook, words: Words) -> VoxelScores:
        """(V, C_in) -> what each voxel scores, computed by the graph: the features stay on the device."""
        inputs = {**self._inputs(features, rulebook), **word_inputs(words)}
        return _voxel_scores(_run(self._session, list(SCORE_OUTPUTS), inputs, self.name), words)

    def features_and_scores(
        self, features: NDArray[np.float32], rulebook: Rulebook, words: Words
    ) -> tuple[NDArray[np.float32], VoxelScores]:
        """Both from one run of the network, for whoever compares."""
        inputs = {**self._inputs(features, rulebook), **word_inputs(words)}
        unit_features, *scores = _run(self._session, [UNIT_FEATURES, *SCORE_OUTPUTS], inputs, self.name)
        return unit_features, _voxel_scores(scores, words)

    def _inputs(self, features: NDArray[np.float32], rulebook: Rulebook) -> dict[str, Any]:
        tables = rulebook.tables()
        return {FEATURES: features, **{name: tables[name] for name in self._tables}}


def _voxel_scores(outputs: list[NDArray[Any]], words: Words) -> VoxelScores:
    best, score, margin, similarity = outputs
    return VoxelScores(best, score, margin, similarity[:, : len(words.queries)])


def _identity(bundle: Bundle, graph: str) -> str:
    return f"onnxruntime {onnxruntime.__version__} {graph} {bundle.manifest.sha256[graph][:32]}"


def _session(
    path: Path, provider: str, threads: int, provider_options: dict[str, str] | None = None
) -> onnxruntime.InferenceSession:
    if provider not in onnxruntime.get_available_providers():
        raise BackendError(
            f"onnxruntime: no {provider} in this build (it has {', '.join(onnxruntime.get_available_providers())}); "
            "install onnxruntime-gpu instead of onnxruntime."
        )
    if provider == "CUDAExecutionProvider":
        onnxruntime.preload_dlls()  # CUDA's libraries as pip installs them, which the loader does not find by itself
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # failures come as exceptions
    # Planning the reuse of buffers takes time quadratic in the nodes (16 s instead of 1 s for the pairs graph of minkunet34) and
    # gains nothing where every shape is dynamic; memory patterns are kept for every shape ever met, and no two scans share one.
    options.enable_mem_reuse = False
    options.enable_mem_pattern = False
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[(provider, provider_options or {})])
    except Exception as error:  # its exceptions share no base but Exception
        raise BackendError(f"{path}: ONNX Runtime cannot load it ({str(error).strip()}); export the bundle again.") from error
    # ONNX Runtime falls back to the CPU in silence where a listed provider cannot run.
    if provider not in session.get_providers():
        raise BackendError(f"onnxruntime: {provider} does not run here, only {', '.join(session.get_providers())}.")
    return session


def _run(session: onnxruntime.InferenceSession, outputs: list[str], inputs: dict[str, Any], name: str) -> list[NDArray[Any]]:
    try:
        answers: list[NDArray[Any]] = session.run(outputs, inputs)
    except Exception as error:  # as above
        raise BackendError(f"{name}: the scan failed ({error}); use another backend and report this one.") from error
    return answers
