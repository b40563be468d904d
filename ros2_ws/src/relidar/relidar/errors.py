"""The errors of relidar. A message says where, what was found, what was expected and what to do."""


class RelidarError(Exception):
    """Base of every error that a user can act on; commands print it and exit with 1."""


class ConfigError(RelidarError):
    """A configuration, prompt set or other YAML file that cannot be used."""


class DatasetError(RelidarError):
    """A dataset folder, image, cloud or label file that is missing, cut short or inconsistent."""


class CloudError(RelidarError):
    """A point cloud (array or PointCloud2) that cannot be decoded or segmented."""


class BagError(RelidarError):
    """A bag that cannot be read or has no usable topic."""


class BundleError(RelidarError):
    """A bundle whose files, hashes, version or shapes do not fit."""


class BackendError(RelidarError):
    """An inference backend that cannot run or compile a bundle."""


class CheckpointError(RelidarError):
    """A training checkpoint or weights file that does not fit the configuration."""


class TrainingError(RelidarError):
    """A training run that cannot go on."""


class TextError(RelidarError):
    """A prompt or text encoder that is not available."""
