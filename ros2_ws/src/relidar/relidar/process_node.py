"""Runs a lifecycle node as a process: starts it, spins it, and ends it within two seconds of SIGINT or SIGTERM, in any state."""

import gc
import os
import signal
import sys
import threading
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any, Protocol

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import get_default_context, remove_ros_args

from relidar import command_line
from relidar.errors import ConfigError, RelidarError
from relidar.freed_memory import give_back_freed_memory
from relidar.parameters_node import LiveParameters

STOP_TIMEOUT_S = 1.2


class ManagedNode(Protocol):
    """What is asked of the node, besides being one of rclpy's lifecycle nodes."""

    parameters: LiveParameters
    failure: str
    """Why the last transition failed."""

    def trigger_configure(self) -> TransitionCallbackReturn:
        """To inactive."""

    def trigger_activate(self) -> TransitionCallbackReturn:
        """To active."""

    def get_logger(self) -> Any:
        """Of rclpy."""

    def close(self) -> None:
        """Ends all threads."""

    def destroy_node(self) -> None:
        """Takes the node down."""


def run_lifecycle_node(parser: ArgumentParser, make_node: Callable[[], ManagedNode]) -> None:
    """The whole process. Exit code 0 after a signal or `build_only`, 1 if the node cannot start, 2 for bad usage."""
    # Python's own handlers: rclpy's would only set in when spinning begins, and loading a bundle takes seconds. They only note
    # the signal, since the node runs in another thread: even one that is busy in compiled code cannot hold up the end.
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    give_back_freed_memory()
    try:
        own_arguments = remove_ros_args(sys.argv)[1:]
    except RuntimeError as error:
        parser.error(str(error))
    parser.parse_args(own_arguments)
    command_line.run(lambda: _run(make_node, stop))


def _run(make_node: Callable[[], ManagedNode], stop: threading.Event) -> None:
    try:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:
        raise ConfigError(f"ROS arguments: {error}") from error
    failures: list[BaseException] = []

    def work() -> None:
        try:
            _serve(make_node, stop)
            _leave_middleware()
        except BaseException as error:  # noqa: BLE001  # raised again below
            failures.append(error)
        finally:
            stop.set()

    thread = threading.Thread(target=work, name="node", daemon=True)
    thread.start()
    stop.wait()
    thread.join(STOP_TIMEOUT_S)
    if failures:
        rclpy.try_shutdown()
        raise failures[0]
    # Where the thread lives on, loading or a scan still runs in compiled code, which Python cannot end; it has written nothing.
    # Else all is taken down, and what remains, unloading ONNX Runtime and numba, can take seconds on a busy machine.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _serve(make_node: Callable[[], ManagedNode], stop: threading.Event) -> None:
    node = make_node()
    try:
        parameters = node.parameters.current
        if parameters.build_only or parameters.autostart:
            _succeed(node, node.trigger_configure())
            if parameters.build_only:
                return
            _succeed(node, node.trigger_activate())
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not stop.is_set():
            if not _spin_once(executor, node):
                stop.wait(0.01)  # an error that stays must not take a whole core
        executor.shutdown()
    finally:
        node.close()
        node.destroy_node()


def _leave_middleware() -> None:
    """Frees the middleware's shared memory, tens of MB, which would else be lost until the machine starts anew."""
    rclpy.try_shutdown()
    gc.collect()  # a node and its services hold each other, and the context
    get_default_context().destroy()


def _spin_once(executor: SingleThreadedExecutor, node: ManagedNode) -> bool:
    """Whether nothing failed: a request that rclpy cannot read, such as a parameter of no known type, must not end the node."""
    try:
        executor.spin_once(timeout_sec=0.2)
    except Exception as error:  # noqa: BLE001
        node.get_logger().error(f"request left out: {type(error).__name__}: {error}", throttle_duration_sec=5.0)
        return False
    return True


def _succeed(node: ManagedNode, result: TransitionCallbackReturn) -> None:
    if result != TransitionCallbackReturn.SUCCESS:
        raise RelidarError(node.failure)
