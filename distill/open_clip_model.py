"""Loads a model of open_clip, whose text tower is a text encoder and whose image tower is the `maskclip` teacher."""

from typing import Any

from relidar.errors import CheckpointError


def load_open_clip(model_name: str, pretrained: str) -> Any:
    """The model in evaluation mode on the CPU.

    Args:
        model_name: e.g. "ViT-B-16" or "RN50", one of open_clip.list_models().
        pretrained: a tag of open_clip.list_pretrained(), fetched from its hub, or the path of a local checkpoint.

    Raises:
        CheckpointError: no such model, no such weights, or weights of another model.
    """
    import distill.torchvision_operators  # noqa: F401, before open_clip

    # isort: split
    import open_clip  # here, since it takes seconds

    where = f"open_clip model {model_name!r}, weights {pretrained!r}"
    if model_name not in open_clip.list_models():
        raise CheckpointError(f"{where}: no such model; expected a name of open_clip.list_models(), such as ViT-B-16 or RN50.")
    if not pretrained:  # open_clip would leave the weights random
        raise CheckpointError(f"{where}: no weights named; give a tag of open_clip.list_pretrained() or a checkpoint's path.")
    try:
        return open_clip.create_model(model_name, pretrained=pretrained, weights_only=True).eval()
    except Exception as error:  # a file of weights can be wrong in as many ways as there are errors
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model_name)) or "none"
        raise CheckpointError(
            f"{where}: {reason}. Expected the path of a checkpoint of {model_name}, or, where the hub can be reached, one of its "
            f"tags: {tags}."
        ) from error
