"""Starts segment_node, and RViz if asked.

ros2 launch relidar segment.launch.py bundle:=/opt/bundles/street input:=/lidar/points
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

SHARE = Path(get_package_share_directory("relidar"))

ARGUMENTS = (
    DeclareLaunchArgument(
        "bundle", default_value="", description="Folder that `python -m export.trt` wrote; empty: as params_file says."
    ),
    DeclareLaunchArgument("input", default_value="/points", description="PointCloud2 topic of the LiDAR."),
    DeclareLaunchArgument(
        "output",
        default_value="~/output/segmentation",
        description="Topic of the answer: the input's points with label, score and rgb.",
    ),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node; one for each LiDAR."),
    DeclareLaunchArgument("name", default_value="segment_node", description="Name of the node."),
    DeclareLaunchArgument(
        "backend",
        default_value="",
        choices=["", "auto", "tensorrt", "tensorrt-rtx", "onnxruntime-cuda", "onnxruntime-cpu"],
        description="What runs the student; auto takes the fastest that works; empty: as params_file says.",
    ),
    DeclareLaunchArgument(
        "params_file",
        default_value=str(SHARE / "config" / "segment.yaml"),
        description="YAML with parameters of the node; use_sim_time goes before it, as do bundle and backend unless empty.",
    ),
    DeclareLaunchArgument("use_sim_time", default_value="false", description="Take the time from /clock (a bag is played)."),
    DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal."),
    DeclareLaunchArgument("rviz", default_value="false", description="Open RViz on the answer."),
)


def segment_node(context: LaunchContext) -> list[Node]:
    """The node. What is empty on the command line is not passed, since it would go before the parameter file."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ("bundle", "backend")}
    node = Node(
        package="relidar",
        executable="segment_node",
        namespace=LaunchConfiguration("namespace"),
        name=LaunchConfiguration("name"),
        parameters=[
            LaunchConfiguration("params_file"),
            {
                **{name: ParameterValue(value, value_type=str) for name, value in given.items() if value},
                "use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool),
            },
        ],
        remappings=[
            ("~/input/pointcloud", LaunchConfiguration("input")),
            ("~/output/segmentation", LaunchConfiguration("output")),
        ],
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        output="screen",
    )
    return [node]


def generate_launch_description() -> LaunchDescription:
    """The arguments, the node and RViz."""
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", str(SHARE / "rviz" / "relidar.rviz")],
        parameters=[{"use_sim_time": LaunchConfiguration("use_sim_time")}],
        condition=IfCondition(LaunchConfiguration("rviz")),
        output="screen",
    )
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=segment_node), rviz])
