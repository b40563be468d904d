"""Starts segment_node, one for each LiDAR, and RViz if asked.

ros2 launch relidar segment.launch.py bundle:=/opt/bundles/street input:=/lidar/points
ros2 launch relidar segment.launch.py bundle:=/opt/bundles/street lidars:=front=/front/points,rear=/rear/points
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue

SHARE = Path(get_package_share_directory("relidar"))

# The node's parameters and their types. Spelled out, since `ros2 launch` runs in the system's Python, which need not have what
# relidar imports; a test compares them with the node's.
PARAMETERS = {
    "bundle": (str, "Folder that `python -m export.trt` wrote."),
    "backend": (
        str,
        "auto (fastest that works), tensorrt, tensorrt-rtx, onnxruntime-cuda, compiled-cpu, onnxruntime-cpu, compiled-cpu-int8.",
    ),
    "threads": (int, "Threads that work on one scan, 0 = one a core; several LiDARs share the cores."),
    "autostart": (bool, "false: the node waits unconfigured for lifecycle transitions."),
    "build_only": (bool, "true: load, compile and self-test, then end."),
    "prompts": (list[str], "Classes as a YAML list: \"[car, 'person: pedestrian, child']\"; \"['']\" = none."),
    "prompts_file": (str, "YAML prompt set, used where `prompts` is empty."),
    "similarity_prompts": (list[str], 'Words whose cosine each point gets as a field, as a YAML list: "[traffic cone]".'),
    "filtered_classes": (list[str], 'Classes that the filtered cloud leaves out, as a YAML list: "[road, unlabelled]".'),
    "latency_warn_ms": (float, "Diagnostics warn above this latency; 0 = never."),
    "latency_error_ms": (float, "Diagnostics show an error above this latency; 0 = never."),
    "input_timeout_s": (float, "Diagnostics turn stale after so long without a cloud; 0 = never."),
    "use_sim_time": (bool, "true: take the time from /clock, for a bag that is played."),
}
OUTPUTS = {
    "segmentation": "the input's points with label, score and margin",
    "visualization": "the points in the colours of their classes",
    "filtered": "the input without the filtered classes",
}
ARGUMENTS = (
    *(
        DeclareLaunchArgument(name, default_value="", description=f"{description} Empty: as params_file says.")
        for name, (_, description) in PARAMETERS.items()
    ),
    DeclareLaunchArgument(
        "params_file",
        default_value=str(SHARE / "config" / "segment.yaml"),
        description="YAML with parameters of the node, or of the nodes by name; arguments that are not empty go before it.",
    ),
    DeclareLaunchArgument("input", default_value="/points", description="PointCloud2 topic of the LiDAR."),
    *(
        DeclareLaunchArgument(output, default_value=f"~/output/{output}", description=f"Topic of the answer: {what}.")
        for output, what in OUTPUTS.items()
    ),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node, or of the LiDARs' namespaces."),
    DeclareLaunchArgument("name", default_value="segment_node", description="Name of the node."),
    DeclareLaunchArgument(
        "lidars",
        default_value="",
        description="Several LiDARs, one node each: namespace=topic,namespace=topic; goes before `input`.",
    ),
    DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal."),
    DeclareLaunchArgument(
        "rviz", default_value="false", choices=["true", "false"], description="Open RViz on the answers, a window for each LiDAR."
    ),
    DeclareLaunchArgument("fixed_frame", default_value="lidar", description="RViz: the frame that clouds are shown in."),
)


def nodes_and_inputs(lidars: str, namespace: str, topic: str) -> list[tuple[str, str]]:
    """Namespace and input topic of each node; raises ValueError where `lidars` is not namespace=topic,..."""
    base = namespace.rstrip("/")
    if not lidars:
        return [(base, topic)]
    pairs = [tuple(part.strip() for part in entry.split("=")) for entry in lidars.split(",")]
    names = [pair[0].strip("/") for pair in pairs]
    if len({*names}) < len(names) or not all(len(pair) == 2 and all(pair) for pair in pairs) or not all(names):
        raise ValueError(f"lidars:={lidars}: expected different namespaces with topics, as front=/front/points,rear=/rear/points")
    return [(f"{base}/{name}", pair[1]) for name, pair in zip(names, pairs, strict=True)]


def given_parameters(context: LaunchContext) -> dict[str, ParameterValue]:
    """What is not empty on the command line, since an empty value would go before the parameter file.

    Raises:
        ValueError: a value is not of the parameter's type; names both.
    """
    given = {}
    for name, (kind, _) in PARAMETERS.items():
        text = LaunchConfiguration(name).perform(context)
        if text:
            try:
                ParameterValue(LaunchConfiguration(name), value_type=kind).evaluate(context)
            except ValueError as error:
                raise ValueError(f"{name}:={text}: {error}") from error
            given[name] = ParameterValue(LaunchConfiguration(name), value_type=kind)
    return given


def segment_nodes(context: LaunchContext) -> list[Node]:
    """A node for each LiDAR, and its RViz."""
    lidars, namespace, topic, name = (
        LaunchConfiguration(argument).perform(context) for argument in ("lidars", "namespace", "input", "name")
    )
    answers = [(f"~/output/{output}", LaunchConfiguration(output).perform(context)) for output in OUTPUTS]
    placed = nodes_and_inputs(lidars, namespace, topic)
    if len(placed) > 1 and any(answer.startswith("/") for _, answer in answers):
        raise ValueError(f"lidars:={lidars}: their answers would share a topic; give outputs that do not begin with '/'.")
    actions = []
    for place, cloud in placed:
        # Before the node: where RViz is not installed, launch gives up, and would leave a node behind that it has just started.
        if LaunchConfiguration("rviz").perform(context) == "true":
            clock = {key: value for key, value in given_parameters(context).items() if key == "use_sim_time"}
            actions.append(rviz(place, name, answers, clock))
        # The node starts itself (parameter `autostart`), with or without launch. The lifecycle action takes ChangeState events on
        # top, so that a launch file that includes this one can lead it with autostart:=false.
        node = LifecycleNode(
            package="relidar",
            executable="segment_node",
            namespace=place,
            name=name,
            parameters=[LaunchConfiguration("params_file"), given_parameters(context)],
            remappings=[("~/input/pointcloud", cloud), *answers],
            ros_arguments=["--log-level", LaunchConfiguration("log_level")],
            output="screen",
            on_exit=end_with_failure if len(placed) == 1 else None,
        )
        actions.append(node)
    return actions


def end_with_failure(event: ProcessExited, _context: LaunchContext) -> None:
    """Ends the launch with exit code 1 where its only node failed, so that its supervisor notices; launch alone would say 0."""
    if event.returncode:
        raise RuntimeError(f"{event.process_name} ended with exit code {event.returncode}; its own message is above.")


def rviz(namespace: str, name: str, answers: list[tuple[str, str]], clock: dict[str, ParameterValue]) -> Node:
    """One RViz whose displays, made for /segment_node, show the answers of this node."""
    own = f"/{namespace.lstrip('/')}".rstrip("/") + f"/{name}"
    topics = [answer.replace("~", own, 1) if answer.startswith("~/") else answer for _, answer in answers]
    return Node(
        package="rviz2",
        executable="rviz2",
        namespace=namespace,
        arguments=["-d", str(SHARE / "rviz" / "relidar.rviz"), "-f", LaunchConfiguration("fixed_frame")],
        parameters=[clock],
        remappings=[(f"/segment_node/output/{output}", topic) for output, topic in zip(OUTPUTS, topics, strict=True)],
        output="screen",
    )


def generate_launch_description() -> LaunchDescription:
    """The arguments, the nodes and RViz."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=segment_nodes)])
