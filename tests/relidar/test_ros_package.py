"""The files of the ROS package agree with each other and with the code that they name."""

import ast
import fnmatch
import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

import relidar
from relidar.backends import BACKENDS
from relidar.node_parameters import NodeParameters, parse_parameters
from relidar.scan_answer import OUTPUTS

PACKAGE = Path(__file__).parents[2] / "ros2_ws/src/relidar"
LAUNCH_FILE = PACKAGE / "launch/segment.launch.py"


def literals(path: Path) -> set[str]:
    """All strings of a Python file."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def assigned(path: Path, name: str) -> ast.expr:
    """What a module assigns to a name."""
    (value,) = (
        node.value
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]
    )
    return value


def launch_parameters() -> dict[str, tuple[str, str]]:
    """The node's parameters as the launch file offers them: type and description by name."""
    table = assigned(LAUNCH_FILE, "PARAMETERS")
    assert isinstance(table, ast.Dict)
    offered = {}
    for key, value in zip(table.keys, table.values, strict=True):
        assert isinstance(key, ast.Constant)
        assert isinstance(value, ast.Tuple)
        kind, description = value.elts
        offered[str(key.value)] = (ast.unparse(kind), str(ast.literal_eval(description)))
    return offered


def test_name_and_version_are_the_same_everywhere() -> None:
    package = ElementTree.parse(PACKAGE / "package.xml").getroot()  # noqa: S314  # our own file
    assert package.get("format") == "3"
    assert (package.findtext("name"), package.findtext("version")) == ("relidar", relidar.__version__)
    assert package.findtext("export/build_type") == "ament_python"
    assert relidar.__version__ in literals(PACKAGE / "setup.py")
    assert (PACKAGE / "resource/relidar").is_file()


def test_package_xml_names_what_the_nodes_import_from_ros() -> None:
    package = ElementTree.parse(PACKAGE / "package.xml").getroot()  # noqa: S314  # our own file
    depends = {element.text for element in package.iter("exec_depend")}
    imported = {
        module.split(".")[0]
        for path in [*(PACKAGE / "relidar").glob("*_node.py"), LAUNCH_FILE]
        for node in ast.walk(ast.parse(path.read_text()))
        for module in ([node.module] if isinstance(node, ast.ImportFrom) else [])
        if module
    }
    ros = {
        name for name in imported if name.endswith(("_msgs", "_srvs", "_interfaces")) or name in ("rclpy", "launch", "launch_ros")
    }
    assert {"sensor_msgs", "std_srvs", "vision_msgs", "rclpy", "launch_ros"} <= ros <= depends


def test_setup_installs_every_file() -> None:
    strings = literals(PACKAGE / "setup.py")
    shared = {
        f"{path.parent.name}/{path.name}"
        for kind in ("launch", "config", "rviz", "foxglove")
        for path in (PACKAGE / kind).iterdir()
    }
    assert {name for name in shared if not name.endswith("__pycache__")} <= strings
    beside = {path.name for path in (PACKAGE / "relidar").iterdir() if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert beside
    assert {name for name in beside if not any(fnmatch.fnmatch(name, pattern) for pattern in strings)} == set()


def test_entry_points_exist() -> None:
    entries = [text for text in literals(PACKAGE / "setup.py") if re.fullmatch(r"\w+ = relidar\.\w+:main", text)]
    assert len(entries) == 3
    for entry in entries:
        module = entry.split(".")[1].removesuffix(":main")
        functions = {
            node.name for node in ast.parse((PACKAGE / "relidar" / f"{module}.py").read_text()).body if hasattr(node, "name")
        }
        assert "main" in functions


def test_the_launch_file_offers_every_parameter_of_the_node_with_its_type() -> None:
    kind_of = {str: "str", bool: "bool", int: "int", float: "float", tuple: "list[str]"}
    fields = {name: kind_of[type(info.default)] for name, info in NodeParameters.model_fields.items()}
    offered = launch_parameters()
    assert {name: kind for name, (kind, _) in offered.items()} == {**fields, "use_sim_time": "bool"}
    assert all(description for _, description in offered.values())
    assert all(backend in offered["backend"][1] for backend in BACKENDS)


def test_the_parameter_file_has_the_nodes_defaults() -> None:
    content = yaml.safe_load((PACKAGE / "config/segment.yaml").read_text())
    parameters = content["/**"]["ros__parameters"]
    assert set(parameters) == set(NodeParameters.model_fields)
    assert parse_parameters(parameters) == NodeParameters()


def topics_of_rviz() -> dict[str, str]:
    content = yaml.safe_load((PACKAGE / "rviz/relidar.rviz").read_text())
    displays = content["Visualization Manager"]["Displays"]
    return {display["Name"]: display["Topic"]["Value"] for display in displays if "Topic" in display}


def test_rviz_opens_on_every_output_of_the_node() -> None:
    assert topics_of_rviz() == {
        "Classes": "/segment_node/output/visualization",
        "Score": "/segment_node/output/segmentation",
        "Filtered": "/segment_node/output/filtered",
    }
    assert {topic.rsplit("/", 1)[1] for topic in topics_of_rviz().values()} == set(OUTPUTS)
    assert set(ast.literal_eval(_keys(assigned(LAUNCH_FILE, "OUTPUTS")))) == set(OUTPUTS)


def _keys(table: ast.expr) -> ast.expr:
    assert isinstance(table, ast.Dict)
    return ast.Tuple([key for key in table.keys if key is not None])


def strings_of(value: Any) -> Iterator[str]:
    """All keys and values that are text, at any depth."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield key
            yield from strings_of(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from strings_of(entry)
    elif isinstance(value, str):
        yield value


def test_foxglove_shows_topics_that_the_node_has_in_panels_that_the_layout_places() -> None:
    layout = json.loads((PACKAGE / "foxglove/relidar.json").read_text())
    timings = ast.literal_eval(assigned(PACKAGE / "relidar/publishers_node.py", "TIMINGS"))
    own = {f"/segment_node/output/{output}" for output in OUTPUTS} | {"/segment_node/label_info"}
    debug = {f"/segment_node/debug/{name}_ms.data" for name in timings} | {"/segment_node/debug/pipeline_latency_ms.data"}
    assert {text for text in strings_of(layout) if text.startswith("/")} == own | debug | {"/diagnostics"}
    placed = {text for text in strings_of(layout["layout"]) if "!" in text}
    assert placed == set(layout["configById"])


@pytest.fixture
def launch_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The launch file's names, read as `ros2 launch` reads it."""
    pytest.importorskip("launch", reason="launch is not installed: it comes with ROS 2")
    pytest.importorskip("launch_ros", reason="launch_ros is not installed: it comes with ROS 2")
    (tmp_path / "share/ament_index/resource_index/packages").mkdir(parents=True)
    (tmp_path / "share/relidar").mkdir()
    (tmp_path / "share/ament_index/resource_index/packages/relidar").touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    return runpy.run_path(str(LAUNCH_FILE))


def launched(launch_file: dict[str, Any], given: dict[str, str]) -> tuple[Any, list[Any]]:
    """The context and the actions for what is given on the command line."""
    launch = pytest.importorskip("launch")
    context = launch.LaunchContext()
    for argument in launch_file["ARGUMENTS"]:
        context.launch_configurations[argument.name] = "".join(part.perform(context) for part in argument.default_value)
    context.launch_configurations.update(given)
    return context, launch_file["segment_nodes"](context)


def text_of(context: Any, parts: Any) -> str:
    return parts if isinstance(parts, str) else "".join(part.perform(context) for part in parts)


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ({}, {}),
        ({"bundle": "/opt/b"}, {"bundle": "/opt/b"}),
        (
            {"prompts": "[car, 'person: pedestrian']", "latency_warn_ms": "100", "autostart": "false", "threads": "2"},
            {"prompts": ["car", "person: pedestrian"], "latency_warn_ms": 100.0, "autostart": False, "threads": 2},
        ),
    ],
)
def test_what_is_not_given_to_the_launch_file_is_left_to_the_parameter_file(
    launch_file: dict[str, Any], given: dict[str, str], values: dict[str, object]
) -> None:
    context, (node,) = launched(launch_file, given)
    params_file, passed = node._Node__parameters
    assert params_file.evaluate(context).parts[-2:] == ("config", "segment.yaml")
    evaluated = {text_of(context, name): value.evaluate(context) for name, value in passed.items()}
    assert evaluated == values
    assert {name: type(value) for name, value in evaluated.items()} == {name: type(value) for name, value in values.items()}


def test_a_value_of_the_wrong_type_is_refused_by_name(launch_file: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="latency_warn_ms:=soon"):
        launched(launch_file, {"latency_warn_ms": "soon"})


def test_each_lidar_gets_a_node_of_its_own(launch_file: dict[str, Any]) -> None:
    context, nodes = launched(launch_file, {"lidars": "front=/front/points, rear=/rear/points", "namespace": "car"})
    found = []
    for node in nodes:
        remappings = {text_of(context, old): text_of(context, new) for old, new in node._Node__remappings}
        found.append((text_of(context, node._Node__node_namespace), remappings["~/input/pointcloud"]))
    assert found == [("car/front", "/front/points"), ("car/rear", "/rear/points")]


@pytest.mark.parametrize("lidars", ["front", "front=", "=/a", "a=/x,a=/y", "a=/x,,b=/y", "a=/x=/y"])
def test_lidars_that_cannot_be_told_apart_are_refused(launch_file: dict[str, Any], lidars: str) -> None:
    with pytest.raises(ValueError, match="expected different namespaces"):
        launched(launch_file, {"lidars": lidars})


def test_several_lidars_do_not_share_an_output(launch_file: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="share a topic"):
        launched(launch_file, {"lidars": "front=/a,rear=/b", "filtered": "/filtered"})


def test_rviz_is_led_to_the_node_that_is_started(launch_file: dict[str, Any]) -> None:
    context, (rviz, _) = launched(launch_file, {"namespace": "/front", "name": "labels", "rviz": "true", "filtered": "/free"})
    remappings = {text_of(context, old): text_of(context, new) for old, new in rviz._Node__remappings}
    assert set(remappings) == set(topics_of_rviz().values())
    assert remappings["/segment_node/output/visualization"] == "/front/labels/output/visualization"
    assert remappings["/segment_node/output/filtered"] == "/free"
