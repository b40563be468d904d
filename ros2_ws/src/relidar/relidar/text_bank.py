"""The text bank: embeddings of prompts, computed once, so that nothing at run time needs a text model."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from relidar.atomic import atomic_file
from relidar.errors import TextError


@dataclass(frozen=True)
class TextBank:
    """Unit embeddings of known prompts."""

    encoder: str
    """Which text encoder made them, e.g. "sentence" or "open_clip:ViT-B-16:laion2b_s34b_b88k"."""
    prompts: tuple[str, ...]
    embeddings: NDArray[np.float32]
    """(C, D) unit rows, one a prompt."""

    def missing(self, prompts: Sequence[str]) -> list[str]:
        """Those of the prompts that the bank lacks, each once."""
        known = set(self.prompts)
        return [prompt for prompt in dict.fromkeys(prompts) if prompt not in known]

    def lookup(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """(len(prompts), D) rows of the given prompts; raises TextError for one that is not in the bank."""
        row = {prompt: index for index, prompt in enumerate(self.prompts)}
        missing = self.missing(prompts)
        if missing:
            raise TextError(
                f"text bank: no embedding of {', '.join(map(repr, missing[:5]))}; the bank holds {len(self.prompts)} prompts. "
                "Make a bank of all words with `python -m export.text --prompts PROMPTS --out BANK`, and export the bundle again "
                "with both (--prompts, --text)."
            )
        return self.embeddings[[row[prompt] for prompt in prompts]]


def save_text_bank(bank: TextBank, path: Path) -> None:
    """Writes a bank as safetensors, the prompts and the encoder in its metadata."""
    metadata = {"encoder": bank.encoder, "prompts": json.dumps(bank.prompts)}
    with atomic_file(path) as temporary:
        save_file({"embeddings": np.ascontiguousarray(bank.embeddings, dtype=np.float32)}, temporary, metadata)


def load_text_bank(path: Path) -> TextBank:
    """Reads a bank; raises TextError if the file is missing, cut short or inconsistent."""
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            embeddings = file.get_tensor("embeddings")
        prompts = tuple(str(prompt) for prompt in json.loads(metadata["prompts"]))
        encoder = metadata["encoder"]
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise TextError(f"{path}: not a text bank ({error}); make it with `python -m export.text`.") from error
    if embeddings.ndim != 2 or len(embeddings) != len(prompts) or embeddings.dtype != np.float32:
        raise TextError(
            f"{path}: embeddings are {embeddings.dtype} {embeddings.shape} for {len(prompts)} prompts, expected float32 "
            "with one row a prompt; make it again with `python -m export.text`."
        )
    if not np.allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-3):
        raise TextError(f"{path}: embeddings are not unit rows; make it again with `python -m export.text`.")
    return TextBank(encoder, prompts, embeddings)
