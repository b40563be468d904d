"""What a teacher's cached features are kept under: a hash of its weights and settings."""

import hashlib

from torch import nn

from relidar.config_file import Model


def fingerprint(config: Model, network: nn.Module) -> str:
    """Changes with any setting but where the weights lie and where they run, and with any weight."""
    digest = hashlib.sha256(config.model_dump_json(exclude={"weights", "pretrained", "device"}).encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return f"{getattr(config, 'kind', '')}:{digest.hexdigest()}"
