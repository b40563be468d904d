"""The files of the ROS package agree with each other and with the code that they name."""

import ast
import re
import runpy
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

import relidar
from relidar.backends import BACKENDS

PACKAGE = Path(__file__).parents[2] / "ros2_ws/src/relidar"


def literals(path: Path) -> set[str]:
    """All strings of a Python file."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_name_and_version_are_the_same_everywhere() -> None:
    package = ElementTree.parse(PACKAGE / "package.xml").getroot()  # noqa: S314  # our own file
    assert package.get("format") == "3"
    assert (package.findtext("name"), package.findtext("version")) == ("relidar", relidar.__version__)
    assert package.findtext("export/build_type") == "ament_python"
    assert relidar.__version__ in literals(PACKAGE / "setup.py")
    assert (PACKAGE / "resource/relidar").is_file()


def test_setup_installs_files_and_entry_points_that_exist() -> None:
    strings = literals(PACKAGE / "setup.py")
    for name in ("package.xml", "launch/segment.launch.py", "config/segment.yaml", "rviz/relidar.rviz"):
        assert name in strings
        assert (PACKAGE / name).is_file()
    entries = [text for text in strings if re.fullmatch(r"\w+ = relidar\.\w+:main", text)]
    assert len(entries) == 3
    for entry in entries:
        module = entry.split(".")[1].removesuffix(":main")
        functions = {
            node.name for node in ast.parse((PACKAGE / "relidar" / f"{module}.py").read_text()).body if hasattr(node, "name")
        }
        assert "main" in functions


def test_the_launch_file_offers_every_backend_and_describes_every_argument() -> None:
    tree = ast.parse((PACKAGE / "launch/segment.launch.py").read_text())
    calls = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "DeclareLaunchArgument"
    ]
    arguments = {call.args[0].value: {word.arg: word.value for word in call.keywords} for call in calls}
    assert {"bundle", "input", "backend", "use_sim_time", "rviz"} <= set(arguments)
    for name, words in arguments.items():
        assert ast.literal_eval(words["description"]), name
    assert ast.literal_eval(arguments["backend"]["choices"]) == ["", *BACKENDS]
    # Anything but an empty default would go before the parameter file.
    assert [ast.literal_eval(arguments[name]["default_value"]) for name in ("bundle", "backend")] == ["", ""]


@pytest.mark.parametrize("given", [{}, {"bundle": "/opt/b"}, {"bundle": "/opt/b", "backend": "tensorrt"}])
def test_what_is_not_given_to_the_launch_file_is_left_to_the_parameter_file(
    given: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = pytest.importorskip("launch", reason="launch is not installed: it comes with ROS 2")
    pytest.importorskip("launch_ros", reason="launch_ros is not installed: it comes with ROS 2")
    (tmp_path / "share/ament_index/resource_index/packages").mkdir(parents=True)
    (tmp_path / "share/relidar").mkdir()
    (tmp_path / "share/ament_index/resource_index/packages/relidar").touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    module = runpy.run_path(str(PACKAGE / "launch/segment.launch.py"))
    context = launch.LaunchContext()
    for argument in module["ARGUMENTS"]:
        context.launch_configurations[argument.name] = "".join(part.perform(context) for part in argument.default_value)
    context.launch_configurations.update(given)
    (node,) = module["segment_node"](context)
    params_file, passed = node._Node__parameters
    assert params_file.evaluate(context) == tmp_path / "share/relidar/config/segment.yaml"
    names = {"".join(part.perform(context) for part in name): value for name, value in passed.items()}
    assert set(names) == {*given, "use_sim_time"}
    assert {name: names[name].evaluate(context) for name in given} == given


def test_the_parameter_file_names_the_nodes_parameters() -> None:
    content = yaml.safe_load((PACKAGE / "config/segment.yaml").read_text())
    parameters = content["/**"]["ros__parameters"]
    assert set(parameters) == {"bundle", "backend"}
    assert set(parameters) <= literals(PACKAGE / "relidar/segment_node.py")


@pytest.mark.parametrize("display", ["Segmentation", "Score"])
def test_rviz_opens_on_the_nodes_topic(display: str) -> None:
    content = yaml.safe_load((PACKAGE / "rviz/relidar.rviz").read_text())
    topics = {entry["Name"]: entry.get("Topic", {}).get("Value") for entry in content["Visualization Manager"]["Displays"]}
    assert topics[display] == "/segment_node/output/segmentation"
    assert "~/output/segmentation" in literals(PACKAGE / "relidar/segment_node.py")
