"""What a replay is asked to do, and whether the results that are there were made from the same."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relidar.bundle import MANIFEST, sha256_file
from relidar.errors import ConfigError
from relidar.truth import TruthSource

RESULT = "result.json"
RESULT_FORMAT = 3
"""Goes up when results of before cannot be read any more."""


@dataclass(frozen=True)
class ReplayOptions:
    """What is asked of each bag."""

    bundle: Path
    backend: str = "auto"
    threads: int = 0
    """That work on one scan; 0 = one a core, shared out among bags side by side."""
    topics: tuple[str, ...] = ()
    truth: TruthSource | None = None
    truth_map: Path | None = None
    corruptions: tuple[str, ...] = ()
    """Such as "rain:3"."""
    write: bool = False
    rerun: bool = False
    side_by_side: int = 1
    """Bags that share the processor, which slows each; no part of `inputs`."""

    def inputs(self, bag: Path) -> dict[str, Any]:
        """All that a result depends on, as plain data; a result with the same inputs need not be made again."""
        folder = self.truth.folder if self.truth else None
        files = {"bag": _state(bag), "truth_files": _state(folder) if folder else None}
        return {"format": RESULT_FORMAT, **files, **self.asked()}

    def asked(self) -> dict[str, Any]:
        """The part of `inputs` that is the same for all bags of a report."""
        return {
            "bundle": sha256_file(self.bundle / MANIFEST),
            "backend": self.backend,
            "threads": self.threads,
            "topics": list(self.topics),
            "truth": str(self.truth) if self.truth else None,
            "truth_map": sha256_file(self.truth_map) if self.truth_map else None,
            "corruptions": list(self.corruptions),
            "write": self.write,
            "rerun": self.rerun,
        }


def is_finished(folder: Path, options: ReplayOptions, bag: Path) -> bool:
    """Whether `folder` has the result of the same inputs, with latencies from a processor that no more bags shared."""
    try:
        result: Any = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        return bool(result["inputs"] == options.inputs(bag) and result["side_by_side"] <= options.side_by_side)
    except (OSError, ValueError, TypeError, KeyError):
        return False


def check_same(out: Path, options: ReplayOptions) -> None:
    """Raises ConfigError if `out` holds results of another bundle or of other options, which this replay would replace."""
    asked = options.asked()
    # `*` also finds the hidden folders that killed runs leave.
    for path in sorted(path for path in out.glob(f"bags/*/{RESULT}") if not path.parent.name.startswith(".")):
        try:
            inputs: Any = json.loads(path.read_text(encoding="utf-8"))["inputs"]
            is_readable = inputs["format"] == RESULT_FORMAT
        except (OSError, ValueError, TypeError, KeyError):
            continue  # a result that is of no use will not be missed
        other = [_difference(name, inputs.get(name), value) for name, value in asked.items() if inputs.get(name) != value]
        if is_readable and other:
            raise ConfigError(
                f"{out}: {path.parent} was made with {', '.join(other)}; choose another --out, or remove {out} to make it anew."
            )


def _difference(name: str, there: object, asked: object) -> str:
    if name in ("backend", "threads"):
        return f"{name} {there}, not {asked}"
    return f"another {name.replace('_', ' ')}" if name in ("bundle", "truth_map") else f"another choice of {name}"


def _state(path: Path) -> dict[str, list[int]]:
    """Size and time of change of a file, or of each file in a folder: what changes when the contents do."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return {str(file.resolve()): [file.stat().st_size, file.stat().st_mtime_ns] for file in files}
