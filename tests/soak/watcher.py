"""The soak's own ROS node: hears the answers and the diagnostics of segment_node, and asks it for changes."""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import PointCloud2
from std_srvs.srv import Trigger

from relidar.pointcloud2 import layout_of
from tests.soak.answer_book import Answer

TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
}
SERVICE_TIMEOUT_S = 60.0
OUTPUTS = ("segmentation", "filtered")


class NoAnswerError(Exception):
    """A service of the node did not answer in time."""


class Watcher:
    """Spins in a thread of its own. `answers` fills up with (output, Answer)."""

    def __init__(self, target: str) -> None:
        """`target`: full name of the node."""
        self.answers: queue.SimpleQueue[tuple[str, Answer]] = queue.SimpleQueue()
        self.diagnostics: list[tuple[Mapping[str, str], float]] = []
        """Values by key, with the time of arrival on the monotonic clock."""
        rclpy.init(args=[])
        self._target = target
        self._node = rclpy.create_node("soak_watcher")
        self._outputs: dict[str, Any] = {}
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._note, 100)
        self._change_state = self._node.create_client(ChangeState, f"{target}/change_state")
        self._set_parameters = self._node.create_client(SetParametersAtomically, f"{target}/set_parameters_atomically")
        self._set_prompts = self._node.create_client(Trigger, f"{target}/set_prompts")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name="watcher", daemon=True)
        self._thread.start()

    def listen(self, output: str, wanted: bool) -> None:
        """Subscribes to an output of the node, or no longer."""
        if wanted and output not in self._outputs:

            def keep(message: PointCloud2) -> None:
                stamp = message.header.stamp
                stamp_ns = 10**9 * stamp.sec + stamp.nanosec
                answer = Answer(message.header.frame_id, stamp_ns, layout_of(message), message.data.tobytes(), time.monotonic())
                self.answers.put((output, answer))

            topic = f"{self._target}/output/{output}"
            self._outputs[output] = self._node.create_subscription(PointCloud2, topic, keep, QoSProfile(depth=100))
        elif not wanted and output in self._outputs:
            self._node.destroy_subscription(self._outputs.pop(output))

    def transition(self, name: str) -> bool:
        """Asks for one of TRANSITIONS; returns whether the node made it."""
        request = ChangeState.Request(transition=Transition(id=TRANSITIONS[name], label=name))
        return bool(self._call(self._change_state, request).success)

    def set_parameters(self, values: Mapping[str, str | tuple[str, ...]]) -> tuple[bool, str]:
        """Sets parameters all at once; returns whether the node took them, and its reason if not."""
        request = SetParametersAtomically.Request()
        for name, value in values.items():
            if isinstance(value, str):
                typed = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value)
            else:
                # An empty list has no type of its own for some writers of parameters; one empty text says the same.
                typed = ParameterValue(type=ParameterType.PARAMETER_STRING_ARRAY, string_array_value=list(value) or [""])
            request.parameters.append(Parameter(name=name, value=typed))
        result = self._call(self._set_parameters, request).result
        return bool(result.successful), str(result.reason)

    def set_prompts(self) -> bool:
        """Calls ~/set_prompts; returns whether the node took the words."""
        return bool(self._call(self._set_prompts, Trigger.Request()).success)

    def close(self) -> None:
        """Leaves ROS."""
        rclpy.try_shutdown()
        self._thread.join(5)
        self._node.destroy_node()

    def _call(self, client: Any, request: Any) -> Any:
        done = threading.Event()
        if not client.wait_for_service(SERVICE_TIMEOUT_S):
            raise NoAnswerError(f"{client.srv_name} is not there after {SERVICE_TIMEOUT_S:.0f} s")
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        if not done.wait(SERVICE_TIMEOUT_S):
            raise NoAnswerError(f"{client.srv_name} did not answer within {SERVICE_TIMEOUT_S:.0f} s")
        return future.result()

    def _note(self, array: DiagnosticArray) -> None:
        for status in array.status:
            if status.name.startswith(self._target.lstrip("/")):
                self.diagnostics.append(({pair.key: pair.value for pair in status.values}, time.monotonic()))

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()


def wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Whether the condition came true in time."""
    end_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.05)
    return True
