"""Who may import whom: the arrows of the architecture, read from the code."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # which pytest brings

ROOT = Path(__file__).parents[1]
RUNTIME = ROOT / "ros2_ws/src/relidar/relidar"
RUNTIME_MAY_IMPORT = {
    "numpy",
    "numba",
    "llvmlite",
    "onnxruntime",
    "yaml",
    "pydantic",
    "safetensors",
    "rosbags",
    "tqdm",
    "relidar",
}
RUNTIME_MAY_IMPORT_LAZILY = {"tensorrt", "tensorrt_rtx", "cuda", "tokenizers"}
ROS = {
    "rclpy",
    "sensor_msgs",
    "std_msgs",
    "std_srvs",
    "diagnostic_msgs",
    "vision_msgs",
    "lifecycle_msgs",
    "rcl_interfaces",
    "builtin_interfaces",
}
EXPORT_MAY_IMPORT_FROM_DISTILL = {"assemble", "scans", "trt", "parity", "text", "text_tower", "program"}


def imports(path: Path, top_level_only: bool = False) -> Iterator[str]:
    """Dotted names that a file imports; with top_level_only those that run when it is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    if top_level_only:
        inside = {id(n) for f in nodes if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef) for n in ast.walk(f)}
        nodes = [node for node in nodes if id(node) not in inside]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def third_party(path: Path, top_level_only: bool = False) -> set[str]:
    names = {name.split(".")[0] for name in imports(path, top_level_only)}
    return names - set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", sorted(RUNTIME.glob("**/*.py")), ids=lambda p: p.name)
def test_runtime_imports_only_what_a_vehicle_installs(path: Path) -> None:
    allowed = RUNTIME_MAY_IMPORT | (ROS if path.name.endswith("_node.py") else set())
    assert third_party(path, top_level_only=True) <= allowed
    assert third_party(path) <= allowed | RUNTIME_MAY_IMPORT_LAZILY


@pytest.mark.parametrize("path", sorted((ROOT / "distill").glob("**/*.py")), ids=lambda p: p.stem)
def test_distill_imports_neither_export_nor_ros(path: Path) -> None:
    assert not third_party(path) & ({"export"} | ROS)


@pytest.mark.parametrize("path", sorted((ROOT / "export").glob("**/*.py")), ids=lambda p: p.stem)
def test_export_imports_distill_only_for_checkpoints(path: Path) -> None:
    assert not third_party(path) & ROS
    if path.stem not in EXPORT_MAY_IMPORT_FROM_DISTILL:
        assert not third_party(path) & {"distill", "torch"}


def test_every_package_is_listed_for_installation() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    roots = {"distill": ROOT, "export": ROOT, "relidar": RUNTIME.parent}
    found = {
        ".".join(i.parent.relative_to(root).parts) for top, root in roots.items() for i in root.glob(f"{top}/**/__init__.py")
    }
    assert listed == found


def test_top_level_holds_only_what_the_design_names() -> None:
    files = {"pyproject.toml", "README.md", "LICENSE", "Makefile"}
    folders = {"distill", "ros2_ws", "export", "configs", "tests", "docker", "results"}
    made = {"runs", "relidar_train.egg-info", "build"}
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert found <= files | folders | made
