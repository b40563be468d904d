"""relidar: open-vocabulary labels for every LiDAR point."""

import os

__version__ = "0.1.0"

# onnxruntime's Linux wheels send facts about the machine and the model to their maker unless this is set before its import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
