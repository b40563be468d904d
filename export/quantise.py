"""Calibrates a bundle's student for int8 on the CPU: measures its activations on scans, and keeps weights that fit them.

  python -m export.quantise runs/demo/bundle --scans runs/demo/street
  python -m export.quantise runs/demo/bundle --scans drive.mcap --scans my_scans --most 200

Then `backend: compiled-cpu-int8` runs it. `auto` never does, since int8 changes some labels: the command says how many, on scans
that it did not measure. Give a few hundred scans of the sensor and the places that the vehicle will see: bags, datasets in
nuScenes' or SemanticKITTI's format, or folders of .pcd.bin, .bin or labelled .npz scans.

Activations follow a ReLU, so they are 0..255 steps of a 255th of a quantile of what was measured: the rare larger ones are cut
off, and all others are the finer for it. Weights are -63..63 steps, which each output channel chooses for itself, rounded so that
their errors cancel (`export.whole_steps`).
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from tqdm import tqdm

from export.calibration import Input, calibrate
from export.scan_arguments import add_scan_arguments, check_scan_arguments
from export.scans import scans_of_source
from export.whole_steps import in_whole_steps
from relidar import command_line
from relidar.bundle import CPU_INT8_PROGRAM, CPU_PROGRAM, Bundle, open_bundle, sha256_file, write_manifest
from relidar.compiled.program import CompiledProgram
from relidar.errors import BundleError, CloudError
from relidar.program import Program
from relidar.program_file import load_program, save_program
from relidar.rulebook import build_rulebook
from relidar.voxels import Voxels, voxelise
from relidar.words import Words

MOST = 300
"""Scans of each source; more make the measure no better, and take longer."""
HELD_OUT = 8
"""Every so many scans one is not measured but used to count the labels that int8 changes."""


def calibrated(program: Program, scans: Iterable[Input]) -> Program:
    """The program as int8 runs it; raises CloudError where there are no scans."""
    return in_whole_steps(program, calibrate(program, scans))


def label_agreement(program: Program, int8: Program, scans: Iterable[Input], words: Words, threads: int = 0) -> float:
    """Share of the voxels of all scans whose class int8 leaves as it is: `program` in single precision, `int8` calibrated."""
    exact, coarse = CompiledProgram(program, threads), CompiledProgram(int8, threads, "int8")
    same = [exact.scores(*scan, words).best == coarse.scores(*scan, words).best for scan in scans]
    return float(np.concatenate(same).mean())


def inputs(scans: Iterable[Voxels], levels: int) -> Iterator[Input]:
    """What a network reads of each scan; the tables of hundreds at once would fill the memory."""
    for voxels in scans:
        yield voxels.features, build_rulebook(voxels.coordinates, levels)


def quantise(bundle: Bundle, scans: Sequence[Voxels]) -> float:
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
    program, levels = load_program(bundle.path / CPU_PROGRAM), bundle.manifest.student.levels
    measured = [scan for index, scan in enumerate(scans) if index % HELD_OUT]
    int8 = calibrated(program, inputs(tqdm(measured, desc="measure", unit="scan"), levels))
    path = bundle.path / CPU_INT8_PROGRAM
    sha256 = {name: digest for name, digest in bundle.manifest.sha256.items() if name != CPU_INT8_PROGRAM}
    try:
        write_manifest(bundle.path, bundle.manifest.model_copy(update={"sha256": sha256}))
        save_program(int8, path)
        sha256[CPU_INT8_PROGRAM] = sha256_file(path)
        write_manifest(bundle.path, bundle.manifest.model_copy(update={"sha256": sha256}))
    except (OSError, SafetensorError) as error:
        raise BundleError(
            f"{path}: cannot be written ({error}); free space or make the folder writable, and run the command again. "
            "The rest of the bundle is as it was."
        ) from error
    return label_agreement(program, int8, inputs(scans[::HELD_OUT], levels), bundle.words())


def main() -> None:
    """The command."""
    parser = command_line.parser(__doc__)
    parser.add_argument("bundle", type=Path)
    add_scan_arguments(parser, "taken evenly", required=True)
    most = "scans of each source, at least 2; default %(default)s"
    parser.add_argument("--most", type=command_line.at_least(2), default=MOST, help=most)
    arguments = parser.parse_args()
    check_scan_arguments(parser, arguments)
    bundle = open_bundle(arguments.bundle)
    preprocessing = bundle.manifest.preprocessing
    how = (preprocessing.intensity_max, arguments.most, arguments.topic, arguments.intensity_max)
    scans = (scan for source in arguments.scans for scan in scans_of_source(source, *how))
    voxels = [voxelise(scan.xyz_m, scan.intensity, preprocessing) for scan in scans]
    usable = [scan for scan in voxels if len(scan.coordinates)]
    kept = quantise(bundle, usable)
    held_out = len(usable[::HELD_OUT])
    words = f"calibrated on {len(usable) - held_out} scans; int8 keeps {kept:.2%} of the labels of {held_out} that were held out"
    if len(usable) < len(voxels):
        words += f"; {len(voxels) - len(usable)} scans have no point in range and were left out"
    command_line.say(f"{arguments.bundle / CPU_INT8_PROGRAM}: {words}")


if __name__ == "__main__":
    command_line.run(main)
