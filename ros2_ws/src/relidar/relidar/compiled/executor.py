"""The student on the CPU without ONNX Runtime: student-cpu.safetensors, run by `relidar.compiled.program`.

Why not ONNX Runtime: its pairs graph gathers, multiplies and scatters each kernel offset over a whole scan, through main memory.
Here a block of output rows stays in the cache over all offsets and the layer's end, and input rows are read where they lie. It
needs numba alone, as the rulebook does. The first use on a machine compiles for some twenty seconds; numba keeps it on disk
(NUMBA_CACHE_DIR), so that later processes load it in no time.
"""

from relidar.bundle import CPU_INT8_PROGRAM, CPU_PROGRAM, Bundle, Precision
from relidar.compiled.program import CompiledProgram
from relidar.errors import BackendError
from relidar.program_file import load_program


class CompiledExecutor(CompiledProgram):
    """The program of a bundle."""

    def __init__(self, bundle: Bundle, threads: int = 0, precision: Precision = "fp32") -> None:
        """Loads the program.

        Args:
            bundle: an opened bundle.
            threads: that run one scan; 0 = one a core that this process may use.
            precision: "fp32", or "int8" where `python -m export.quantise` has calibrated the bundle.

        Raises:
            BundleError: the file does not hold a program.
            BackendError: the bundle has none, or its network is of a form that this executor cannot run.
        """
        name = CPU_INT8_PROGRAM if precision == "int8" else CPU_PROGRAM
        if name not in bundle.manifest.sha256:
            again = "export it again from its checkpoint"
            cure = f"calibrate it with `python -m export.quantise {bundle.path} --scans FOLDER`" if precision == "int8" else again
            raise BackendError(f"{bundle.path}: this bundle has no {name}; {cure}.")
        super().__init__(load_program(bundle.path / name), threads, precision)
        self.identity = f"{self.name} {name} {bundle.manifest.sha256[name][:32]}"
