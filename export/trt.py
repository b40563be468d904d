"""Checkpoint -> bundle -> TensorRT engine.

  python -m export.trt runs/demo/train/student.pt --out runs/demo/bundle
  python -m export.trt runs/demo/train/student.pt --out runs/demo/bundle --text-encoder
  python -m export.trt runs/demo/bundle --target sm86 --target sm89
  python -m export.trt runs/demo/bundle --precision fp16 --build-only

From a checkpoint it writes the bundle first; golden scan and capacities come from the run's validation scans, or from --scans: an
engine takes 1.5 times the 99th percentile of each level's voxels over up to 64 scans of each source (the manifest's
capacity_rule). A scan with more is answered by the CPU, exactly, and counted as over_capacity. Prompts are an input of the
engine, so that new ones need no new engine.
With --text-encoder the vehicle can take words that the text bank lacks, without PyTorch; it adds 46 MB for `sentence`.
From a bundle it builds engines only, and needs no PyTorch: this is what runs on a vehicle. Native TensorRT is used where it is
installed and builds for the GPU of this machine; else TensorRT-RTX builds ahead of time, which needs no GPU. An engine that is
already there, whole and made for this very bundle is kept; any other is built again. Of several processes one builds, the others
wait and take what it built. Where an fp16 engine was built, the vehicle runs that one.
At the end every backend is tried on the golden scan, as the node does at its start, until one reproduces it: with --build-only
not, so that a vehicle's set-up only sees to it that the engines are there.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from export.engine_build import build_engine, default_target, installed_runtime
from export.scan_arguments import add_scan_arguments, check_scan_arguments
from relidar import command_line
from relidar.backends import ProvedExecutor, open_executor
from relidar.bundle import open_bundle
from relidar.prompts import load_prompt_set
from relidar.text_bank import load_text_bank


def write_bundle_of(
    checkpoint: Path,
    out: Path,
    sources: Sequence[Path] = (),
    topics: Sequence[str] = (),
    full_return: float | None = None,
    prompts: Path | None = None,
    text: Path | None = None,
    with_text_encoder: bool = False,
) -> None:
    """Writes the bundle of a checkpoint; the sources' scans, prompts and text replace what belongs to the run."""
    # Imported here, since only this needs PyTorch, and the readers of datasets take seconds more.
    from distill.checkpoint import load_student

    student = load_student(checkpoint)

    from distill.text_encoders import make_text_encoder
    from export.assemble import write_bundle

    if prompts is not None and text is not None:
        student = replace(student, prompt_set=load_prompt_set(prompts), text=load_text_bank(text))
    encoder = make_text_encoder(student.text.encoder) if with_text_encoder else None

    from export.scans import scans_of_run, scans_of_source

    intensity_max = student.preprocessing.intensity_max
    given = [
        scan for source in sources for scan in scans_of_source(source, intensity_max, topics=topics, full_return=full_return)
    ]
    write_bundle(student, given if sources else scans_of_run(checkpoint), out, text_encoder=encoder)


def main() -> None:
    """The command."""
    parser = command_line.parser(__doc__)
    parser.add_argument("source", type=Path, help="student.pt of a training run, or a bundle")
    parser.add_argument("--out", type=Path, help="the bundle to write; default: the folder `bundle` beside the checkpoint")
    parser.add_argument(
        "--target", action="append", help="GPU class such as sm86, repeatable; default: this machine's, else sm86"
    )
    parser.add_argument("--precision", choices=["fp32", "fp16"], default="fp32", help="of the engines; default: fp32")
    add_scan_arguments(parser, "instead of the run's validation scans")
    parser.add_argument("--prompts", type=Path, help="prompt set instead of the run's; together with --text")
    parser.add_argument("--text", type=Path, help="text bank of --prompts, made by `python -m export.text`")
    parser.add_argument(
        "--text-encoder",
        action="store_true",
        help="put the encoder of the text bank into the bundle, for new words on the vehicle",
    )
    parser.add_argument(
        "--build-only", action="store_true", help="build what engines are missing and leave, without trying any backend"
    )
    arguments = parser.parse_args()
    check_scan_arguments(parser, arguments)
    _check(parser, arguments)
    path: Path = arguments.source
    if not path.is_dir():
        path = arguments.out or path.parent / "bundle"
        given = (
            arguments.scans,
            arguments.topic,
            arguments.intensity_max,
            arguments.prompts,
            arguments.text,
            arguments.text_encoder,
        )
        write_bundle_of(arguments.source, path, *given)
        command_line.say(f"bundle: {path}")
    bundle = open_bundle(path)
    runtime = installed_runtime()
    targets = arguments.target or [default_target(runtime)]
    bar = tqdm(targets, desc=f"{runtime} engines", unit="engine")
    engines = [(target, *build_engine(bundle, runtime, target, arguments.precision)) for target in bar]
    for target, plan, is_new in engines:
        state = "built" if is_new else "kept"
        precision = arguments.precision
        command_line.say(f"engine: {plan} ({runtime}, {target}, {precision}, {plan.stat().st_size} bytes, {state})")
    if not arguments.build_only:
        command_line.say(backend_table(open_executor(bundle)))


def backend_table(proved: ProvedExecutor) -> str:
    """What the node's "auto" takes on this machine, and why none of those that it prefers, a line each."""
    width = max(len(name) for name in (*proved.rejected, proved.name))
    lines = [f"  {name:{width}}  no: {reason}" for name, reason in proved.rejected.items()]
    runs = f"  {proved.name:{width}}  runs, {proved.golden_difference:.1e} from the golden scan"
    return "\n".join(["backends on this machine:", *lines, runs])


def _check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    if (arguments.prompts is None) != (arguments.text is None):
        parser.error("--prompts and --text go together; make the bank with `python -m export.text --prompts PROMPTS --out BANK`")
    if arguments.build_only and not arguments.source.is_dir():
        parser.error("--build-only is for a bundle; a checkpoint needs its bundle written first")
    if arguments.source.is_dir() and (arguments.out or arguments.scans or arguments.prompts or arguments.text_encoder):
        parser.error(
            "--out, --scans, --prompts, --text and --text-encoder are for a checkpoint; a bundle's engines go into the bundle"
        )


if __name__ == "__main__":
    command_line.run(main)
