# The vehicle: ROS 2 Jazzy, TensorRT, ONNX Runtime with CUDA, no PyTorch and no text model. Not built here, see README.md.
#   docker build -f docker/vehicle.Dockerfile -t relidar-vehicle .
FROM ros:jazzy-ros-base

SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        python3-venv \
        ros-jazzy-diagnostic-msgs \
        ros-jazzy-sensor-msgs \
        ros-jazzy-std-srvs \
        ros-jazzy-vision-msgs \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /relidar
COPY pyproject.toml README.md LICENSE ./
COPY distill distill
COPY export export
COPY ros2_ws ros2_ws
# pyproject.toml pins what pip installs. The environment sees ROS; colcon runs in it, so that the node's script finds what pip installed.
ENV PATH=/opt/relidar/bin:$PATH
# hadolint ignore=DL3013
RUN python3 -m venv --system-site-packages /opt/relidar \
    && python3 -m pip install --no-cache-dir ".[gpu]" \
    && . /opt/ros/jazzy/setup.bash \
    && python3 -m colcon --log-base /tmp/colcon build --base-paths ros2_ws/src --build-base /tmp/build --install-base ros2_ws/install \
    && rm -rf /tmp/build /tmp/colcon

# ros2 launch passes SIGINT on to the node; SIGTERM would end launch alone.
STOPSIGNAL SIGINT
# Mount a bundle at /bundle; once for each kind of GPU, run `python3 -m export.trt /bundle`.
CMD ["bash", "-c", "source ros2_ws/install/setup.bash && exec ros2 launch relidar segment.launch.py bundle:=/bundle"]
