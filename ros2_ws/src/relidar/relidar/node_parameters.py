"""The parameters of segment_node: names, defaults, meaning, and what values make sense. Without ROS."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, field_validator

from relidar.backends import BACKENDS
from relidar.config_errors import nearest
from relidar.config_file import Model, validate
from relidar.errors import ConfigError

Limit = Annotated[float, Field(ge=0)]


class NodeParameters(Model):
    """Values of all parameters."""

    bundle: str = Field("", description="Folder that `python -m export.trt` wrote. Changes only while unconfigured.")
    backend: str = Field("auto", description=f"One of: {', '.join(BACKENDS)}. Changes only while unconfigured.")
    threads: Annotated[int, Field(ge=0)] = Field(
        0, description="Threads that work on one scan, 0 = one a core. Changes only while unconfigured."
    )
    autostart: bool = Field(True, description="Configure and activate at start; exit with 1 if that fails. Read at start.")
    build_only: bool = Field(False, description="Load, compile and self-test, then exit with 0. Read at start.")
    prompts: tuple[str, ...] = Field(
        (), description="Classes: 'name' or 'name: prompt, prompt'. Empty: those of prompts_file, else of the bundle."
    )
    prompts_file: str = Field(
        "", description="YAML prompt set that counts where prompts is empty; ~/set_prompts reads it again. Empty: the bundle's."
    )
    similarity_prompts: tuple[str, ...] = Field(
        (), description="Words whose cosine is added to each point of ~/output/segmentation as a field similarity_<words>."
    )
    filtered_classes: tuple[str, ...] = Field(
        (), description="Classes by name, or `unlabelled`, whose points ~/output/filtered leaves out."
    )
    latency_warn_ms: Limit = Field(0.0, description="Diagnostics warn if the p95 of the last 50 answers is higher; 0 = never.")
    latency_error_ms: Limit = Field(0.0, description="Diagnostics show an error if that p95 is higher; 0 = never.")
    input_timeout_s: Limit = Field(5.0, description="Diagnostics turn stale if no cloud came for so long; 0 = never.")

    @field_validator("backend")
    @classmethod
    def _known(cls, backend: str) -> str:
        if backend not in BACKENDS:
            raise ValueError(f"expected one of {', '.join(BACKENDS)}")
        return backend

    @field_validator("prompts", "similarity_prompts", "filtered_classes")
    @classmethod
    def _without_empty(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        """One empty text stands for none, since a launch argument cannot say an empty list."""
        return tuple(text.strip() for text in texts if text.strip())


SHAPING = ("bundle", "backend", "threads")
"""Parameters that shape the model and so can change only while nothing is loaded."""
LISTS = tuple(name for name, info in NodeParameters.model_fields.items() if info.default == ())


def parse_parameters(values: Mapping[str, Any]) -> NodeParameters:
    """Checks values as ROS gives them; raises ConfigError naming the parameter and what is wrong."""
    return validate(values, NodeParameters, "parameters")


def unknown_parameter(name: str) -> str:
    """What to tell of a parameter that was given to the node but is none of its own."""
    near = nearest(name, NodeParameters.model_fields)
    cure = f"did you mean {near!r}?" if near else f"there are {', '.join(NodeParameters.model_fields)}."
    return f"parameter {name!r} is none of this node's and is ignored; {cure}"


def check_change(before: NodeParameters, after: NodeParameters, configured: bool) -> None:
    """Raises ConfigError if a parameter changes that cannot change now."""
    changed = [name for name in SHAPING if getattr(before, name) != getattr(after, name)]
    if configured and changed:
        raise ConfigError(
            f"{', '.join(changed)} can change only while the node is unconfigured; deactivate it and clean it up first."
        )
