"""The student on the CPU as machine code: vector tiles over the occupied pairs, compiled by numba; no ONNX Runtime, no torch."""
