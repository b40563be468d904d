"""Lets torchvision be imported where its compiled operators cannot load, as beside a CPU build of torch.

relidar uses no operator of torchvision, but lightning and open_clip import it, and that import fails where `torchvision::nms` was
never declared. Whoever imports one of them imports this first. Where torchvision works, nothing is changed.
"""

import torch

DECLARED: torch.library.Library | None = None
"""Holds the declarations, which last as long as this object does."""

try:
    import torchvision  # noqa: F401
except ImportError:
    pass  # not installed: lightning does without, and open_clip says so itself
except RuntimeError:
    DECLARED = torch.library.Library("torchvision", "DEF")
    DECLARED.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    DECLARED.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
