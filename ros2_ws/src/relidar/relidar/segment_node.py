"""ROS 2 lifecycle node: labels every point of a PointCloud2.

~/input/pointcloud in (sensor data QoS, the newest scan wins); ~/output/segmentation, visualization and filtered out, each only
where somebody subscribes. configure loads, proves and warms up the bundle; activate subscribes. Unless `autostart` is false, the
node does both by itself. What became of each scan is told in /diagnostics once a second.

    python -m relidar.segment_node --ros-args -p bundle:=runs/demo/bundle -r '~/input/pointcloud:=/lidar/points'
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from rclpy.subscription import Subscription
from sensor_msgs.msg import PointCloud2
from std_srvs.srv import Trigger

from relidar import command_line
from relidar.diagnostics_report import NodeStatus, State, judge, values_of
from relidar.errors import ConfigError, RelidarError
from relidar.heartbeat_node import Health, Heartbeat
from relidar.loaded_model import LoadedModel, load_model
from relidar.node_parameters import NodeParameters, check_change
from relidar.parameters_node import Apply, LiveParameters
from relidar.pointcloud2 import MalformedCloudError, layout_of
from relidar.process_node import run_lifecycle_node
from relidar.publishers_node import Publishers
from relidar.scan_answer import Settings, answer_scan, settings_of, with_filter
from relidar.scan_counts import ScanCounts
from relidar.scan_worker import ScanWorker


@dataclass(frozen=True)
class Configured:
    """What the node holds from configure to clean-up; replaced as a whole, so that each scan sees one state."""

    model: LoadedModel
    settings: Settings
    publishers: Publishers


class SegmentNode(LifecycleNode):  # type: ignore[misc]  # rclpy has no types
    """Transitions, parameters and receiving run in the executor's thread, answering in a worker thread."""

    def __init__(self) -> None:
        """Declares parameters and tells the diagnostics; raises ConfigError where a parameter makes no sense."""
        super().__init__("segment_node")
        self.failure = ""
        self._state: State = "unconfigured"
        self._counts = ScanCounts()
        self._errors_told = 0
        self._last_cloud_s = 0.0
        self._version = 0
        self._configured: Configured | None = None
        self._subscription: Subscription | None = None
        self._worker: ScanWorker[PointCloud2] | None = None
        self.parameters = LiveParameters(self, self._prepare)
        self.create_service(Trigger, "~/set_prompts", self._set_prompts)
        self._heartbeat = Heartbeat(self, self._health)

    def on_configure(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Loads, proves and warms up the bundle."""
        return self._transition("configure", "configuring", self._load, "inactive")

    def on_activate(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribes and begins to answer."""
        return self._transition("activate", "inactive", self._start, "active")

    def on_deactivate(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribes; the scan in work is answered, one that waits is dropped."""
        return self._transition("deactivate", "active", self._stop, "inactive")

    def on_cleanup(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Lets go of the bundle, so that another can be configured."""
        return self._transition("cleanup", "inactive", self._release, "unconfigured")

    def on_shutdown(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Stops and lets go of everything, whatever the state."""
        return self._transition("shutdown", self._state, self._release, "finalized")

    def close(self) -> None:
        """Ends all threads; returns once the scan in work is finished."""
        self._release()
        self._heartbeat.stop()

    def _transition(self, name: str, during: State, work: Callable[[], None], then: State) -> TransitionCallbackReturn:
        before, self._state = self._state, during
        try:
            work()
        except Exception as error:  # noqa: BLE001  # whatever fails, the node tells and lives on
            self._state = before
            self.failure = str(error) if isinstance(error, RelidarError) else f"{type(error).__name__}: {error}"
            self.get_logger().error(f"{name} failed: {self.failure}")
            return TransitionCallbackReturn.FAILURE
        self._state, self.failure = then, ""
        return TransitionCallbackReturn.SUCCESS

    def _load(self) -> None:
        parameters = self.parameters.current
        if not parameters.bundle:
            raise ConfigError("parameter bundle is empty; give the bundle's folder: -p bundle:=FOLDER, or in a file.")
        model = load_model(Path(parameters.bundle), parameters.backend, parameters.threads)
        for name, reason in model.executor.rejected.items():
            self.get_logger().info(f"backend {name} does not run here: {reason}")
        settings = settings_of(model, parameters, self._version + 1)
        self._version += 1
        self._configured = Configured(model, settings, Publishers(self))

    def _start(self) -> None:
        model, settings, publishers = self._now()
        publishers.publish_label_info(settings.vocabulary)
        self._last_cloud_s = time.monotonic()
        # The newest scan wins in the worker, where each drop is counted; a queue of one in the middleware would drop in silence.
        self._subscription = self.create_subscription(PointCloud2, "~/input/pointcloud", self._receive, qos_profile_sensor_data)
        self._worker = ScanWorker(self._answer_or_count, self._counts)
        classes = len(settings.vocabulary.classes)
        self.get_logger().info(f"ready: {model.bundle.path} with {classes} classes on {model.executor.name}")

    def _stop(self) -> None:
        if self._subscription is not None:
            self.destroy_subscription(self._subscription)
            self._subscription = None
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def _release(self) -> None:
        self._stop()
        if self._configured is not None:
            self._configured.publishers.destroy()
        self._configured = None

    def _now(self) -> tuple[LoadedModel, Settings, Publishers]:
        configured = self._configured
        assert configured is not None  # noqa: S101  # the state machine sees to it
        return configured.model, configured.settings, configured.publishers

    def _prepare(self, wished: NodeParameters, names: frozenset[str]) -> Apply:
        """Refuses parameters that cannot be had, and makes ready what they ask for, so that the change itself is one step."""
        configured = self._configured
        check_change(self.parameters.current, wished, configured is not None)
        if configured is None:
            return lambda: None
        if names & {"prompts", "similarity_prompts"}:
            settings = settings_of(configured.model, wished, self._version + 1)
        else:
            settings = with_filter(configured.settings.vocabulary, wished)
        return lambda: self._adopt(replace(configured, settings=settings))

    def _adopt(self, configured: Configured) -> None:
        self._configured = configured
        vocabulary = configured.settings.vocabulary
        if vocabulary.version != self._version:
            self._version = vocabulary.version
            configured.publishers.publish_label_info(vocabulary)

    def _set_prompts(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Reads prompts_file again, which counts where `prompts` is empty: so it is emptied."""
        if self._configured is None:
            response.success, response.message = False, "not configured"
            return response
        (result,) = self.set_parameters([Parameter("prompts", Parameter.Type.STRING_ARRAY, [])])
        response.success = result.successful
        response.message = f"version {self._version}" if result.successful else result.reason
        return response

    def _receive(self, message: PointCloud2) -> None:
        self._last_cloud_s = time.monotonic()
        if self._worker is not None:
            self._worker.receive(message)

    def _answer_or_count(self, message: PointCloud2) -> None:
        try:
            self._answer(message)
        except MalformedCloudError as error:
            self._counts.malform(error.cause)
            self.get_logger().error(f"cloud of {message.header.frame_id!r} left out: {error}", throttle_duration_sec=5.0)
        except Exception as error:  # noqa: BLE001  # one scan that fails must not take the node with it
            self._counts.fail(type(error).__name__)
            self.get_logger().error(f"scan failed: {type(error).__name__}: {error}", throttle_duration_sec=5.0)

    def _answer(self, message: PointCloud2) -> None:
        model, settings, publishers = self._now()
        start = time.perf_counter()
        wanted = publishers.wanted()
        if not wanted:
            self._counts.skip()
            return
        answer = answer_scan(model.segmenter, settings, layout_of(message), message.data, wanted)
        publishers.publish(message, answer.clouds)
        total_ms = 1e3 * (time.perf_counter() - start)
        stamp = message.header.stamp  # may hold anything: rclpy's Time would not take a negative one
        latency_ms = (self.get_clock().now().nanoseconds - (10**9 * stamp.sec + stamp.nanosec)) / 1e6
        timings_ms = {f"{stage}_ms": value for stage, value in answer.timings_ms.items()}
        publishers.publish_timings({**timings_ms, "total_ms": total_ms, "pipeline_latency_ms": latency_ms})
        self._counts.answer(answer.points, total_ms, latency_ms, answer.over_capacity)

    def _health(self) -> Health:
        configured, parameters = self._configured, self.parameters.current
        counters = self._counts.snapshot()
        errors = int(counters["malformed"] or 0) + int(counters["failed"] or 0)
        silence_s = time.monotonic() - self._last_cloud_s
        status = NodeStatus(self._state, self.failure, counters, errors - self._errors_told, silence_s)
        self._errors_told = errors
        level, message = judge(status, parameters)
        identity = {} if configured is None else configured.model.identity()
        version = None if configured is None else configured.settings.vocabulary.version
        values = values_of(status, identity, version, parameters.filtered_classes)
        return Health(level, message, identity.get("backend", ""), values)


def main() -> None:
    """The command: parses what ROS leaves over, then runs until SIGINT or SIGTERM."""
    run_lifecycle_node(command_line.parser(__doc__), SegmentNode)


if __name__ == "__main__":
    main()
