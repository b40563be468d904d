"""The ROS package `relidar`, built by colcon. The root pyproject.toml installs the same library for training and export."""

from setuptools import setup

NAME = "relidar"

setup(
    name=NAME,
    version="0.1.0",
    description="Open-vocabulary labels for every LiDAR point",
    license="Apache-2.0",
    packages=[NAME, f"{NAME}.compiled"],
    package_data={NAME: ["py.typed", "*.xml", "*.html"]},
    python_requires=">=3.10",
    # The rest comes from ROS (package.xml) and PyPI (README.md, "Install and run"): onnxruntime, numba, safetensors and rosbags
    # have no ROS package, and the pydantic of Jazzy is version 1.
    install_requires=["setuptools"],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", ["launch/segment.launch.py"]),
        (f"share/{NAME}/config", ["config/segment.yaml"]),
        (f"share/{NAME}/rviz", ["rviz/relidar.rviz"]),
        (f"share/{NAME}/foxglove", ["foxglove/relidar.json"]),
    ],
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "segment_node = relidar.segment_node:main",
            "play_node = relidar.play_node:main",
            "replay = relidar.replay:main",
        ],
    },
)
