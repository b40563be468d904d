"""relidar: open-vocabulary labels for every LiDAR point, on the vehicle, without a camera, torch or a text model."""

__version__ = "0.1.0"
