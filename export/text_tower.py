"""The text tower of an encoder becomes a bundle's text_encoder/, so that a vehicle without torch can embed new words.

The graph is written node by node, as the student's is: opset 17, C sentences and T tokens dynamic, pooling and unit length in it.
Matrices are stored as 16-bit integers with one scale a column, which halves the file and moves no component of MiniLM's answers
to 451 sentences by more than 6.2e-5; half floats, of the same size, moved one by 1.4e-4.

Towers: all-MiniLM-L6-v2, and open_clip's own text transformer with CLIP's tokenizer (CLIP, EVA-CLIP, ViTamin, MobileCLIP and
Perception Encoder: 92 of its 144 models; not SigLIP, CoCa and those on a Hugging Face model).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import yaml
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn

from distill.sentence_encoder import MAX_TOKENS, MiniLM, SentenceEncoder
from distill.text_encoders import OpenClipEncoder, TextEncoder
from export.onnx_graph import FLOAT, INT64, Graph, write_onnx
from export.text_tokenizer import clip_tokenizer
from relidar.atomic import write_text
from relidar.bundle import TEXT_CONFIG, TEXT_ONNX, TEXT_TOKENIZER
from relidar.errors import TextError
from relidar.text_bank import TextBank
from relidar.text_encoder import EMBEDDINGS, IDS, MASK, TextEncoderConfig
from relidar.text_encoder import TextEncoder as VehicleEncoder

TOLERANCE = 1e-4
"""Largest difference of a component to torch's answer; matrices that 16 bits would move further are kept in 32."""

MASKED = -1e9
"""Added to the score of a token that must not be seen: its weight becomes exactly 0."""
SMALLEST_COMPACT = 4096
"""Tensors with fewer values stay in single precision: biases and norms weigh nothing."""


@dataclass(frozen=True)
class TextTower:
    """A text encoder without torch."""

    graph: onnx.ModelProto
    tokenizer: Tokenizer
    context_length: int

    def session(self) -> onnxruntime.InferenceSession:
        """The graph, ready to run on the CPU."""
        return onnxruntime.InferenceSession(self.graph.SerializeToString(), providers=["CPUExecutionProvider"])


def text_tower(encoder: TextEncoder, compact: bool = True) -> TextTower:
    """The tower of an encoder; `compact` stores its matrices in 16 bits. Raises TextError for one that has no graph here."""
    if isinstance(encoder, SentenceEncoder):
        tokenizer = Tokenizer.from_str(encoder.tokenizer.to_str())
        tokenizer.no_truncation()  # what is too long is refused instead
        tokenizer.no_padding()
        return TextTower(minilm_graph(encoder.model, compact), tokenizer, MAX_TOKENS)
    if isinstance(encoder, OpenClipEncoder):
        tower = _clip_tower(encoder.model)
        tokenizer = clip_tokenizer(encoder.tokenize, pads_to_context=tower.attn_mask is None)
        return TextTower(clip_graph(encoder.model, compact), tokenizer, int(tower.context_length))
    raise TextError(f"text encoder {encoder.name!r}: no way to export it; expected 'sentence' or an open_clip model.")


def write_text_encoder(encoder: TextEncoder, bank: TextBank, templates: tuple[str, ...], folder: Path) -> float:
    """Writes text_encoder/ into a bundle's folder once it has reproduced the whole bank, by the code that runs on the vehicle.

    Args:
        encoder: the one that made the bank.
        bank: the bundle's text bank.
        templates: of the prompt set, which the bank was made with.
        folder: the bundle.

    Returns:
        The largest difference to the bank, at most TOLERANCE.

    Raises:
        TextError: another encoder, width or templates than the bank's, or a tower that has no graph here.
    """
    if encoder.name != bank.encoder:
        raise TextError(f"text encoder {encoder.name!r}: the text bank was made by {bank.encoder!r}; give that encoder.")
    for compact in (True, False):
        tower = text_tower(encoder, compact)
        config = TextEncoderConfig(encoder=encoder.name, context_length=tower.context_length, templates=templates)
        difference = _difference(VehicleEncoder(config, tower.tokenizer, tower.session()), bank)
        if difference <= TOLERANCE:
            write_onnx(tower.graph, folder / TEXT_ONNX)
            write_text(folder / TEXT_TOKENIZER, tower.tokenizer.to_str())
            write_text(folder / TEXT_CONFIG, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
            return difference
    raise TextError(
        f"text encoder {encoder.name!r}: its embeddings differ from the text bank's by {difference:.1e}, expected at most "
        f"{TOLERANCE:.0e}: other weights or templates made the bank. Make it again with `python -m export.text` and the "
        "prompt set of this checkpoint."
    )


def _difference(encoder: VehicleEncoder, bank: TextBank) -> float:
    rows = encoder.encode(bank.prompts)
    if rows.shape != bank.embeddings.shape:
        raise TextError(
            f"text encoder {encoder.name!r}: {rows.shape[1]} wide, the text bank {bank.embeddings.shape[1]}; make the bank again "
            "with `python -m export.text`."
        )
    return float(np.abs(rows - bank.embeddings).max())


def minilm_graph(model: MiniLM, compact: bool) -> onnx.ModelProto:
    """ids, mask (C, T) -> (C, 384): BERT's layers, norm after each half; mean over the tokens of the mask."""
    writer = _Writer("sentence", compact)
    ids, mask = writer.graph.input(IDS, INT64, ["C", "T"]), writer.graph.input(MASK, INT64, ["C", "T"])
    seen = writer.node("Cast", [mask], "seen", to=FLOAT)  # (C, T)
    hidden = writer.node("Mul", [writer.node("Sub", [seen, writer.scalar(1.0)], "unseen"), writer.scalar(-MASKED)], "hidden")
    hidden = writer.node("Unsqueeze", [hidden, writer.integers(1, 2)], "bias")  # (C, 1, 1, T), added to each head and query
    x = writer.norm("embedded", writer.embed(ids, model.words.weight, model.positions.weight), model.norm)
    layers: Any = model.layers
    for index, layer in enumerate(layers):
        name = f"layer{index}"
        attended = writer.attention(f"{name}.attention", x, layer.self_attn, hidden)
        x = writer.norm(f"{name}.norm1", writer.node("Add", [x, attended], f"{name}.sum1"), layer.norm1)
        inner = writer.gelu(f"{name}.gelu", writer.linear(f"{name}.linear1", x, layer.linear1.weight, layer.linear1.bias))
        inner = writer.linear(f"{name}.linear2", inner, layer.linear2.weight, layer.linear2.bias)
        x = writer.norm(f"{name}.norm2", writer.node("Add", [x, inner], f"{name}.sum2"), layer.norm2)
    weighted = writer.node("Mul", [x, writer.node("Unsqueeze", [seen, writer.integers(2)], "weight")], "weighted")
    total = writer.node("ReduceSum", [weighted, writer.integers(1)], "total", keepdims=0)  # unit length makes the mean of it
    return writer.finish(total, model.words.weight.shape[1])


def clip_graph(model: nn.Module, compact: bool) -> onnx.ModelProto:
    """ids (C, T) -> (C, D): CLIP's layers, norm before each half; the token of the highest id, the end, stands for all.

    A causal tower may be given rows that end with their text: no token sees what comes after it.
    """
    tower = _clip_tower(model)
    writer = _Writer("open_clip", compact)
    ids = writer.graph.input(IDS, INT64, ["C", "T"])
    x = writer.embed(ids, tower.token_embedding.weight, tower.positional_embedding)
    hidden = None if tower.attn_mask is None else writer.causal(tower.context_length)
    for index, block in enumerate(tower.transformer.resblocks):
        name = f"layer{index}"
        attended = writer.attention(f"{name}.attention", writer.norm(f"{name}.norm1", x, block.ln_1), block.attn, hidden)
        x = writer.node("Add", [x, attended], f"{name}.sum1")
        inner = writer.norm(f"{name}.norm2", x, block.ln_2)
        inner = writer.linear(f"{name}.linear1", inner, block.mlp.c_fc.weight, block.mlp.c_fc.bias)
        inner = writer.gelu(f"{name}.gelu", inner, quick=type(block.mlp.gelu) is not nn.GELU)
        inner = writer.linear(f"{name}.linear2", inner, block.mlp.c_proj.weight, block.mlp.c_proj.bias)
        x = writer.node("Add", [x, inner], f"{name}.sum2")
    end = writer.node("ArgMax", [ids], "end", axis=1, keepdims=1)  # (C, 1)
    x = writer.norm("final", writer.node("GatherND", [x, end], "pooled", batch_dims=1), tower.ln_final)
    width = int(tower.positional_embedding.shape[1])
    projection = tower.text_projection
    if isinstance(projection, nn.Linear):
        x, width = writer.linear("projected", x, projection.weight, projection.bias), projection.out_features
    elif projection is not None:
        x, width = writer.linear("projected", x, projection.T, None), int(projection.shape[1])
    return writer.finish(x, width)


class _Writer:
    """Writes a transformer's parts into a graph."""

    def __init__(self, name: str, compact: bool) -> None:
        self.graph = Graph(name)
        self.node = self.graph.node
        self._compact = compact

    def weight(self, name: str, value: NDArray[np.float32]) -> str:
        """A constant (R, Q); a large one is stored in 16 bits and widened once, when the session loads."""
        if not self._compact or value.size < SMALLEST_COMPACT:
            return self.graph.constant(name, value)
        steps, scale = _sixteen_bits(value, axis=0)
        wide = self.node("Cast", [self.graph.constant(f"{name}.steps", steps)], f"{name}.wide", to=FLOAT)
        return self.node("Mul", [wide, self.graph.constant(f"{name}.scale", scale)], name)

    def scalar(self, value: float) -> str:
        return self.graph.constant(f"scalar {value}", np.array(value, np.float32))

    def integers(self, *values: int) -> str:
        return self.graph.constant(f"integers {values}", np.array(values, np.int64))

    def length(self, ids: str) -> str:
        """T, as (1,)."""
        return self.node("Shape", [ids], "length", start=1)

    def embed(self, ids: str, words: Tensor, positions: Tensor) -> str:
        """(C, T) ids -> (C, T, W): word plus position."""
        table = _array(words)
        if self._compact:
            # Rows are widened after they are taken, since the vocabulary in single precision would be most of the memory.
            steps, scale = _sixteen_bits(table, axis=1)
            taken = self.node("Gather", [self.graph.constant("words.steps", steps), ids], "words.taken")
            wide = self.node("Cast", [taken], "words.wide", to=FLOAT)
            scales = self.node("Gather", [self.graph.constant("words.scale", scale), ids], "words.scales")
            rows = self.node("Mul", [wide, scales], "rows")
        else:
            rows = self.node("Gather", [self.graph.constant("words", table), ids], "rows")
        places = self.weight("positions", _array(positions))
        here = self.node("Slice", [places, self.integers(0), self.length(ids), self.integers(0)], "places")
        return self.node("Add", [rows, here], "words_and_places")

    def causal(self, context_length: int) -> str:
        """(T, T) bias that hides from each token what comes after it."""
        table = np.triu(np.full((context_length, context_length), MASKED, np.float32), 1)
        starts, axes = self.integers(0, 0), self.integers(0, 1)
        ends = self.node("Concat", ["length", "length"], "square", axis=0)
        return self.node("Slice", [self.graph.constant("causal", table), starts, ends, axes], "hidden")

    def linear(self, name: str, x: str, weight: Tensor, bias: Tensor | None) -> str:
        product = self.node("MatMul", [x, self.weight(f"{name}.weight", _array(weight.T))], f"{name}.product")
        return product if bias is None else self.node("Add", [product, self.weight(f"{name}.bias", _array(bias))], name)

    def norm(self, name: str, x: str, norm: nn.LayerNorm) -> str:
        inputs = [x, self.weight(f"{name}.scale", _array(norm.weight)), self.weight(f"{name}.shift", _array(norm.bias))]
        return self.node("LayerNormalization", inputs, name, axis=-1, epsilon=norm.eps)

    def gelu(self, name: str, x: str, quick: bool = False) -> str:
        """x * Phi(x), or CLIP's x * sigmoid(1.702 x)."""
        if quick:
            gate = self.node("Sigmoid", [self.node("Mul", [x, self.scalar(1.702)], f"{name}.scaled")], f"{name}.gate")
            return self.node("Mul", [x, gate], name)
        erf = self.node("Erf", [self.node("Div", [x, self.scalar(2**0.5)], f"{name}.scaled")], f"{name}.erf")
        gate = self.node("Add", [erf, self.scalar(1.0)], f"{name}.gate")
        return self.node("Mul", [self.node("Mul", [x, gate], f"{name}.twice"), self.scalar(0.5)], name)

    def attention(self, name: str, x: str, attention: Any, hidden: str | None) -> str:
        """(C, T, W) -> (C, T, W), softmax(q k' / sqrt(W / H) + hidden) v for each of H heads of an nn.MultiheadAttention."""
        heads = attention.num_heads
        each = self.integers(0, 0, heads, -1)
        joint = self.linear(f"{name}.in", x, attention.in_proj_weight, attention.in_proj_bias)
        parts = self.graph.node_with_outputs("Split", [joint], [f"{name}.{part}" for part in "qkv"], axis=-1)
        by_head = [self.node("Reshape", [part, each], f"{part}.heads") for part in parts]  # (C, T, H, W / H)
        orders = ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
        query, key, value = (
            self.node("Transpose", [part], f"{part}.turned", perm=order) for part, order in zip(by_head, orders, strict=True)
        )
        scale = self.scalar((attention.embed_dim // heads) ** -0.5)
        scores = self.node("Mul", [self.node("MatMul", [query, key], f"{name}.products"), scale], f"{name}.scores")
        if hidden is not None:
            scores = self.node("Add", [scores, hidden], f"{name}.seen")
        mixed = self.node("MatMul", [self.node("Softmax", [scores], f"{name}.shares", axis=-1), value], f"{name}.mixed")
        mixed = self.node("Transpose", [mixed], f"{name}.by_token", perm=[0, 2, 1, 3])
        joined = self.node("Reshape", [mixed, self.integers(0, 0, attention.embed_dim)], f"{name}.joined")
        return self.linear(f"{name}.out", joined, attention.out_proj.weight, attention.out_proj.bias)

    def finish(self, x: str, width: int) -> onnx.ModelProto:
        """(C, D) of any length -> the output, of unit length."""
        length = self.node("ReduceL2", [x], "norm", axes=[1], keepdims=1)
        self.node("Div", [x, self.node("Max", [length, self.scalar(1e-12)], "divisor")], EMBEDDINGS)
        self.graph.output(EMBEDDINGS, FLOAT, ["C", width])
        return self.graph.model()


def _clip_tower(model: nn.Module) -> Any:
    """The module that holds the text transformer; raises TextError where it computes anything that the graph does not."""
    from open_clip.model import CLIP  # here, since it takes seconds
    from open_clip.transformer import LayerNorm, LayerNormFp32, QuickGELU, ResidualAttentionBlock, TextTransformer

    tower: Any = model if isinstance(model, CLIP) else getattr(model, "text", None)
    if tower is not model and type(tower) is not TextTransformer:
        raise _unlike(type(tower).__name__)
    pool = tower.text_pool_type if tower is model else tower.pool_type
    special = tower is not model and (tower.cls_emb is not None or tower.use_pad_mask or tower.output_tokens)
    if pool != "argmax" or special:
        raise _unlike(f"{type(tower).__name__} with the pooling {pool!r} or a class token")
    for block in tower.transformer.resblocks:
        parts = {
            "block": (block, (ResidualAttentionBlock,)),
            "scale": (block.ls_1, (nn.Identity,)),
            "second scale": (block.ls_2, (nn.Identity,)),
            "norm": (block.ln_1, (LayerNorm, LayerNormFp32)),
            "activation": (block.mlp.gelu, (nn.GELU, QuickGELU)),
            "attention": (block.attn, (nn.MultiheadAttention,)),
        }
        for what, (part, known) in parts.items():
            if type(part) not in known or getattr(part, "approximate", "none") != "none":
                raise _unlike(f"the {what} {type(part).__name__}")
    return tower


def _unlike(found: str) -> TextError:
    return TextError(
        f"text encoder: cannot export {found}; expected CLIP's text transformer. Export without --text-encoder, which needs all "
        "prompts beforehand."
    )


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(tensor.detach().float().numpy())


def _sixteen_bits(value: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """Integers and a scale, constant along `axis`, whose product is the value up to 1 / 65534 of the largest there."""
    scale = np.maximum(np.abs(value).max(axis=axis, keepdims=True), np.float32(1e-30)) / np.float32(np.iinfo(np.int16).max)
    return np.rint(value / scale).astype(np.int16), scale
