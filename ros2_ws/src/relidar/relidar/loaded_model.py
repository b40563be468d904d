"""A bundle, opened, proved on its golden scan and warm: all that a node needs to answer scans."""

from dataclasses import dataclass
from pathlib import Path

from relidar.backends import ProvedExecutor, open_executor
from relidar.bundle import MANIFEST, Bundle, open_bundle, sha256_file
from relidar.segmenter import Segmenter
from relidar.vocabulary import WordSource


@dataclass(frozen=True)
class LoadedModel:
    """What `load_model` gives; nothing in it changes but the words that were looked up."""

    bundle: Bundle
    executor: ProvedExecutor
    segmenter: Segmenter
    words: WordSource
    manifest_sha256: str

    def identity(self) -> dict[str, str]:
        """What runs, for diagnostics: backend, engine, bundle and how far it is from the reference."""
        return {
            "backend": self.executor.name,
            "engine": self.executor.identity,
            "bundle": str(self.bundle.path),
            "bundle_sha256": self.manifest_sha256,
            "golden_difference": f"{self.executor.golden_difference:.1e}",
        }


def load_model(path: Path, backend: str, threads: int = 0) -> LoadedModel:
    """Opens a bundle, proves a backend on the golden scan, and runs that scan once through all stages.

    The run compiles what is compiled on first use, so that the first real scan is as fast as the next.

    Raises:
        BundleError: the bundle cannot be used. BackendError: no such backend, or it does not run here.
    """
    bundle = open_bundle(path)
    executor = open_executor(bundle, backend, threads)
    segmenter = Segmenter.of_bundle(bundle, executor, threads)
    golden = bundle.golden()
    segmenter(golden.xyz_m, golden.intensity)
    return LoadedModel(bundle, executor, segmenter, WordSource(bundle), sha256_file(path / MANIFEST))
