"""/diagnostics once a second, from a thread of its own: also while a bundle loads, and where simulated time stands still."""

import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

PERIOD_S = 1.0


class Health(NamedTuple):
    """What a node says about itself."""

    level: int
    message: str
    hardware_id: str
    values: Mapping[str, str]


class Heartbeat:
    """Asks for the node's health and publishes it until `stop`."""

    def __init__(self, node: Node, health: Callable[[], Health]) -> None:
        self._node = node
        self._health = health
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="diagnostics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns once nothing is published any more."""
        self._stopped.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stopped.wait(PERIOD_S):
            health = self._health()
            status = DiagnosticStatus(
                level=bytes([health.level]),
                name=f"{self._node.get_fully_qualified_name().lstrip('/')}: segmentation",
                message=health.message,
                hardware_id=health.hardware_id,
                values=[KeyValue(key=key, value=value) for key, value in health.values.items()],
            )
            array = DiagnosticArray(status=[status])
            array.header.stamp = self._node.get_clock().now().to_msg()
            self._publisher.publish(array)
