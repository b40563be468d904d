# Distillation and export on a machine with a GPU: PyTorch, TensorRT-RTX for engines ahead of time. Not built here, see README.md.
#   docker build -f docker/train.Dockerfile -t relidar-train .
FROM python:3.11-slim-bookworm

WORKDIR /relidar
COPY pyproject.toml README.md LICENSE ./
COPY configs configs
COPY distill distill
COPY export export
COPY ros2_ws ros2_ws
# From PyPI, PyTorch brings its own CUDA libraries: the host needs only the driver.
RUN python -m pip install --no-cache-dir --editable ".[train,export,rtx]"

CMD ["python", "-m", "distill.train", "--help"]
