"""The node's parameters: what is refused and why."""

from typing import Any

import pytest

from relidar.errors import ConfigError
from relidar.node_parameters import LISTS, NodeParameters, check_change, parse_parameters, unknown_parameter


def test_values_are_taken_as_ros_gives_them() -> None:
    values = {"bundle": "b", "latency_warn_ms": 100, "prompts": [" car ", ""], "filtered_classes": [""]}
    parameters = parse_parameters(values)
    assert (parameters.bundle, parameters.latency_warn_ms, parameters.autostart) == ("b", 100.0, True)
    assert (parameters.prompts, parameters.filtered_classes) == (("car",), ())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"backend": "abacus"}, 'backend is "abacus", expected one of auto, tensorrt'),
        ({"latency_error_ms": -1.0}, "latency_error_ms is -1.0, expected at least 0"),
        ({"input_timeout_s": float("nan")}, "input_timeout_s"),
        ({"threads": -1}, "threads is -1, expected at least 0"),
        ({"prompts": [1, 2]}, "prompts"),
        ({"prompts": "car"}, "prompts"),
        ({"prompts": [b"car"]}, "parameters"),
        ({"autostart": 1}, "autostart"),
    ],
)
def test_values_that_make_no_sense_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_parameters(values)


@pytest.mark.parametrize("change", [{"bundle": "other"}, {"backend": "tensorrt"}, {"threads": 2}])
def test_the_model_is_changed_only_while_nothing_is_loaded(change: dict[str, Any]) -> None:
    before, after = NodeParameters(), parse_parameters(change)
    check_change(before, after, configured=False)
    check_change(after, after, configured=True)
    with pytest.raises(ConfigError, match=f"{next(iter(change))} can change only while the node is unconfigured"):
        check_change(before, after, configured=True)


def test_a_name_that_is_no_parameter_comes_with_the_nearest() -> None:
    assert unknown_parameter("thread").endswith("'thread' is none of this node's and is ignored; did you mean 'threads'?")
    assert unknown_parameter("wheelbase_m").endswith("there are " + ", ".join(NodeParameters.model_fields) + ".")


def test_every_parameter_is_described() -> None:
    assert all(info.description for info in NodeParameters.model_fields.values())
    assert set(LISTS) == {"prompts", "similarity_prompts", "filtered_classes"}
