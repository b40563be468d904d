"""ROS parameters of segment_node: declared from `NodeParameters`, checked before they change, applied after."""

from collections.abc import Callable

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.node import Node
from rclpy.parameter import Parameter

from relidar.errors import ConfigError, RelidarError
from relidar.node_parameters import LISTS, NodeParameters, parse_parameters, unknown_parameter

Apply = Callable[[], None]
Prepare = Callable[[NodeParameters, frozenset[str]], Apply]
"""All values as they would be and the names that are being set -> what to do once they are set; raises RelidarError to refuse."""


class LiveParameters:
    """The node's parameters, which change only to values that `prepare` takes."""

    def __init__(self, node: Node, prepare: Prepare) -> None:
        """Declares all parameters; raises ConfigError where the given values make no sense, warns of unknown names."""
        values = {name: _declare(node, name) for name in NodeParameters.model_fields}
        # No error, since a parameter file for all nodes (`/**:`) may hold what other nodes need. rclpy has no public way to ask.
        for name in sorted(name for name in node._parameter_overrides if not node.has_parameter(name)):
            node.get_logger().warning(unknown_parameter(name))
        self.current = parse_parameters(values)
        self._prepare = prepare
        self._accepted: tuple[NodeParameters, Apply] | None = None
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._apply)

    def _check(self, parameters: list[Parameter]) -> SetParametersResult:
        self._accepted = None
        own = [parameter for parameter in parameters if parameter.name in NodeParameters.model_fields]
        try:
            for parameter in own:
                if parameter.type_ == Parameter.Type.NOT_SET:
                    raise ConfigError(f"{parameter.name} cannot be unset; give it a value.")
            values = {**self.current.model_dump(mode="json"), **{parameter.name: _plain(parameter.value) for parameter in own}}
            wished = parse_parameters(values)
            self._accepted = wished, self._prepare(wished, frozenset(parameter.name for parameter in own))
        except RelidarError as error:
            return SetParametersResult(successful=False, reason=str(error))
        except Exception as error:  # noqa: BLE001  # a value must not take the node with it
            return SetParametersResult(successful=False, reason=f"{type(error).__name__}: {error}")
        return SetParametersResult(successful=True)

    def _apply(self, _parameters: list[Parameter]) -> None:
        if self._accepted is not None:
            (self.current, apply), self._accepted = self._accepted, None
            apply()


def _declare(node: Node, name: str) -> object:
    info = NodeParameters.model_fields[name]
    # A fixed type would refuse 100 for 100.0, and the empty list, whose type nobody can tell; NodeParameters checks better.
    dynamic = name in LISTS or isinstance(info.default, float)
    descriptor = ParameterDescriptor(description=info.description or "", dynamic_typing=dynamic)
    default = [] if name in LISTS else info.default
    try:
        value = _plain(node.declare_parameter(name, default, descriptor).value)
        if value == []:
            node.set_parameters([Parameter(name, Parameter.Type.STRING_ARRAY, [])])  # rclpy takes it for a list of bytes
        return value
    except InvalidParameterTypeException as error:
        parse_parameters({name: _plain(node._parameter_overrides[name].value)})  # says it in plainer words
        raise ConfigError(f"parameter {name}: {error}; give a value of that type.") from error


def _plain(value: object) -> object:
    return value if isinstance(value, str | bool | int | float) or value is None else list(value)  # type: ignore[call-overload]
