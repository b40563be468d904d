"""Calibrates a bundle's student for int8 on the CPU: measures its activations on scans, and keeps the measure in the bundle.

  python -m export.quantise runs/demo/bundle --scans runs/demo/street/samples/LIDAR_TOP --scans my_scans

Then `backend: compiled-cpu-int8` runs it. `auto` never does, since int8 changes some labels: the command says how many, on scans
that it did not measure. Give scans of the sensor and the places that the vehicle will see.

Activations follow a ReLU, so they are 0..255 steps of a 255th of a quantile of what was measured: the rare larger ones are cut
off, and all others are the finer for it. Weights are -63..63 steps, which each output channel chooses for itself.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from tqdm import tqdm

from export.scans import SCANS, scans_of_folder
from relidar import command_line
from relidar.bundle import CPU_INT8_PROGRAM, CPU_PROGRAM, Bundle, open_bundle, sha256_file, write_manifest
from relidar.compiled.program import CompiledProgram
from relidar.errors import BundleError, CloudError
from relidar.executor import FEATURES
from relidar.program import SMALLEST_NORM, Add, Concat, Convolution, Linear, Normalise, Program, Relu
from relidar.program_file import load_program, save_program
from relidar.rulebook import Rulebook, build_rulebook
from relidar.voxels import voxelise
from relidar.words import Words

Input = tuple[NDArray[np.float32], Rulebook]
"""Features (V, C_in) and the tables of the same voxels."""

QUANTILE = 0.9999
"""The rare values above it are cut off, so that the steps of all others are finer."""
SMALLEST_RANGE = 1e-6
"""Of an activation that never fires: it still needs a step."""
HELD_OUT = 8
"""Every so many scans one is not measured but used to count the labels that int8 changes."""


def calibrated(program: Program, scans: Iterable[Input]) -> Program:
    """The program with the `largest` of each activation: the mean over the scans of each scan's quantile, weighted by voxels.

    Raises:
        CloudError: no scans.
    """
    measured: dict[str, list[tuple[float, int]]] = {}
    for features, rulebook in scans:
        for name, values in activations(program, features, rulebook):
            measured.setdefault(name, []).append((float(np.quantile(values, QUANTILE)), len(features)))
    if not measured:
        raise CloudError("quantise: no scans; give folders of scans of the vehicle's sensor.")
    means = {name: float(np.average([q for q, _ in pairs], weights=[v for _, v in pairs])) for name, pairs in measured.items()}
    return replace(program, largest={name: max(mean, SMALLEST_RANGE) for name, mean in means.items()})


def activations(program: Program, features: NDArray[np.float32], rulebook: Rulebook) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Name and values (V, C) of every ReLU's output, in order."""
    values = {FEATURES: features}
    for step in program.steps:
        match step:
            case Convolution(output, x, table, weight, bias):
                pairs = rulebook.pairs[table]
                total = np.tile(bias, (len(rulebook.tables()[table]), 1)).astype(np.float32)
                for offset, (start, end) in enumerate(zip(pairs.splits, pairs.splits[1:], strict=False)):
                    # The targets of one offset are distinct, so no sum is lost.
                    total[pairs.target[start:end]] += values[x][pairs.source[start:end]] @ weight[offset]
                values[output] = total
            case Linear(output, x, weight, bias):
                values[output] = values[x] @ weight + bias
            case Add(output, left, right):
                values[output] = values[left] + values[right]
            case Concat(output, left, right):
                values[output] = np.hstack([values[left], values[right]])
            case Normalise(output, x):
                values[output] = values[x] / np.maximum(np.linalg.norm(values[x], axis=1, keepdims=True), SMALLEST_NORM)
            case Relu(output, x):
                values[output] = np.maximum(values[x], 0)
                yield output, values[output]


def label_agreement(program: Program, scans: Sequence[Input], words: Words, threads: int = 0) -> float:
    """Share of the voxels of all scans whose class int8 leaves as it is."""
    exact, int8 = CompiledProgram(program, threads), CompiledProgram(program, threads, "int8")
    same = [exact.scores(*scan, words).best == int8.scores(*scan, words).best for scan in scans]
    return float(np.concatenate(same).mean())


def quantise(bundle: Bundle, scans: Sequence[Input]) -> float:
    """Puts the calibrated program into the bundle; returns the label agreement on the scans that were held out.

    The bundle can be opened at every moment: while the program is replaced, the manifest lists none.

    Raises:
        BundleError: the bundle has no program of the CPU, or cannot be written; it then has no int8 program or the earlier one.
        CloudError: fewer than two scans.
    """
    if CPU_PROGRAM not in bundle.manifest.sha256:
        raise BundleError(f"{bundle.path}: no {CPU_PROGRAM}; export the bundle again from its checkpoint.")
    if len(scans) < 2:
        raise CloudError(f"quantise: {len(scans)} scans, expected at least 2, one of them to test the calibration on.")
    held_out = list(scans[::HELD_OUT])
    measured = [scan for index, scan in enumerate(scans) if index % HELD_OUT]
    program = calibrated(load_program(bundle.path / CPU_PROGRAM), tqdm(measured, desc="measure", unit="scan"))
    path = bundle.path / CPU_INT8_PROGRAM
    sha256 = {name: digest for name, digest in bundle.manifest.sha256.items() if name != CPU_INT8_PROGRAM}
    try:
        write_manifest(bundle.path, bundle.manifest.model_copy(update={"sha256": sha256}))
        save_program(program, path)
        sha256[CPU_INT8_PROGRAM] = sha256_file(path)
        write_manifest(bundle.path, bundle.manifest.model_copy(update={"sha256": sha256}))
    except (OSError, SafetensorError) as error:
        raise BundleError(
            f"{path}: cannot be written ({error}); free space or make the folder writable, and run the command again. "
            "The rest of the bundle is as it was."
        ) from error
    return label_agreement(program, held_out, bundle.words())


def main() -> None:
    """The command."""
    parser = command_line.parser(__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument(
        "--scans",
        type=Path,
        action="append",
        required=True,
        help=f"folder of .pcd.bin or .npz scans, repeatable; up to {SCANS} of each are taken evenly",
    )
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.bundle)
    manifest = bundle.manifest
    scans = []
    for scan in (scan for folder in arguments.scans for scan in scans_of_folder(folder)):
        voxels = voxelise(scan.xyz_m, scan.intensity, manifest.preprocessing)
        if len(voxels.coordinates):
            scans.append((voxels.features, build_rulebook(voxels.coordinates, manifest.student.levels)))
    kept = quantise(bundle, scans)
    command_line.say(f"{arguments.bundle / CPU_INT8_PROGRAM}: int8 keeps {kept:.2%} of the labels of scans that were held out")


if __name__ == "__main__":
    command_line.run(main)
