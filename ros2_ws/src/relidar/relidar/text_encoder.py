"""The text encoder on the vehicle: words that the text bank lacks, embedded by ONNX Runtime, without torch.

A bundle holds one where it was exported with `python -m export.trt CHECKPOINT --text-encoder`. It is the encoder that made the
bank, with the same templates, so that a new word and a word of the bank are told apart by their meaning only.
"""

import html
import unicodedata
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pydantic import Field, model_validator

from relidar.bundle import TEXT_CONFIG, TEXT_ONNX, TEXT_TOKENIZER, Bundle
from relidar.config_file import Model, load
from relidar.errors import BundleError, ConfigError, TextError

IDS = "ids"
"""The graph's input of token ids, (C, T) int64; zeros fill up shorter rows."""
MASK = "mask"
"""The graph's input that is 1 where a row has a token, (C, T) int64; absent where the graph tells by the ids."""
EMBEDDINGS = "embeddings"
"""The graph's output, (C, D) float32 unit rows."""

BATCH = 64
"""Sentences embedded at once: bounds memory for thousands of prompts and costs no speed."""
TOLERANCE = 1e-3
"""Largest difference to the bank's row that the self-check allows; encoders that do not belong together differ by 1e-1."""


class TextEncoderConfig(Model):
    """The contents of text_encoder/config.yaml."""

    encoder: str
    """As in the text bank, e.g. "sentence" or "open_clip:ViT-B-16:laion2b_s34b_b88k"."""
    context_length: Annotated[int, Field(ge=1)]
    """Most tokens of a sentence, start and end included."""
    templates: Annotated[tuple[str, ...], Field(min_length=1)]
    """Sentences with {} for the prompt that the bank was made with; an embedding is the mean over them."""

    @model_validator(mode="after")
    def _one_place(self) -> "TextEncoderConfig":
        for template in self.templates:
            try:
                fits = template.count("{}") == 1 and bool(template.format("x"))
            except (ValueError, LookupError, AttributeError):  # other braces than {}
                fits = False
            if not fits:
                raise ValueError(f"template {template!r} needs exactly one {{}} where the prompt goes, and no other braces")
        return self


class TextEncoder:
    """Prompts to unit vectors in the space of the bundle's text bank."""

    def __init__(self, config: TextEncoderConfig, tokenizer: Any, session: onnxruntime.InferenceSession) -> None:
        """Takes a `tokenizers.Tokenizer` and its graph; a bundle's are opened by `open`."""
        self.name = config.encoder
        self._config = config
        self._tokenizer = tokenizer
        self._session = session
        self._inputs = {i.name for i in session.get_inputs()}

    @classmethod
    def open(cls, bundle: Bundle, threads: int = 1) -> "TextEncoder | None":
        """Loads the bundle's text encoder and checks it against the bank; None where the bundle has none.

        Nothing of it is imported or read before this call.

        Args:
            bundle: an opened bundle, whose hashes were checked.
            threads: of one operator; 1 leaves the other cores to the scans.

        Raises:
            BundleError: a file that cannot be loaded, another encoder than the bank's, or one that gives another answer.
            TextError: the package `tokenizers` is not installed.
        """
        if not bundle.has_text_encoder:
            return None
        path = bundle.path / TEXT_CONFIG
        try:
            config = load(path, TextEncoderConfig)
        except ConfigError as error:
            raise BundleError(f"{error} Export the bundle again with --text-encoder.") from error
        if config.encoder != bundle.text.encoder:
            raise BundleError(
                f"{path}: text encoder {config.encoder!r}, but the text bank was made by {bundle.text.encoder!r}; "
                "export the bundle again with --text-encoder."
            )
        encoder = cls(config, _tokenizer(bundle), _session(bundle, threads))
        encoder._check(bundle)
        return encoder

    def encode(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Embeds prompts as the text bank's were: the renormalised mean over the templates.

        Args:
            prompts: C words or phrases, any at all.

        Returns:
            (C, D) float32 unit rows.

        Raises:
            TextError: a prompt that is empty, too long or holds characters that no text has.
        """
        templates = self._config.templates
        if not prompts:
            raise TextError("text encoder: no prompts; expected one or more.")
        for prompt in prompts:
            _check_text(prompt)
        # Many prompts in one set are close in length, so little is lost to filling up their rows.
        sentences = [template.format(prompt) for prompt in prompts for template in templates]
        rows = np.concatenate([self._embed(sentences[start : start + BATCH]) for start in range(0, len(sentences), BATCH)])
        mean = rows.reshape(len(prompts), len(templates), -1).mean(axis=1)
        return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True), dtype=np.float32)

    def _embed(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        # One by one: encode_batch would start a thread for each core, which the scans need.
        tokens = [self._tokenizer.encode(sentence) for sentence in sentences]
        for sentence, encoding in zip(sentences, tokens, strict=True):
            count = sum(encoding.attention_mask)
            if count > self._config.context_length:
                raise TextError(
                    f"text encoder: {_shown(sentence)} has {count} tokens, {self.name} reads {self._config.context_length}; "
                    "use a shorter prompt."
                )
        length = max(len(encoding.ids) for encoding in tokens)
        ids, mask = np.zeros((2, len(tokens), length), np.int64)
        for row, encoding in enumerate(tokens):
            ids[row, : len(encoding.ids)] = encoding.ids
            mask[row, : len(encoding.ids)] = encoding.attention_mask
        inputs = {name: array for name, array in ((IDS, ids), (MASK, mask)) if name in self._inputs}
        try:
            (rows,) = self._session.run([EMBEDDINGS], inputs)
        except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
            raise TextError(
                f"text encoder: {self.name} failed on {_shown(sentences[0])} ({error}); use other words or export it again."
            ) from error
        return np.asarray(rows, dtype=np.float32)

    def _check(self, bundle: Bundle) -> None:
        """The bank's first prompt must get the bank's first row."""
        prompt, expected = bundle.text.prompts[0], bundle.text.embeddings[:1]
        where = bundle.path / TEXT_ONNX
        try:
            found = self.encode([prompt])
        except (TextError, ValueError) as error:
            raise BundleError(
                f"{where}: cannot embed the bank's {prompt!r}; export the bundle again with --text-encoder. ({error})"
            ) from error
        if found.shape != expected.shape:
            raise BundleError(
                f"{where}: embeddings are {found.shape[1]} wide, the text bank's {expected.shape[1]}; "
                "export the bundle again with --text-encoder."
            )
        difference = float(np.abs(found - expected).max())
        if not difference <= TOLERANCE:  # also for NaN
            raise BundleError(
                f"{where}: its embedding of {prompt!r} differs from the bank's by {difference:.1e}, expected at most "
                f"{TOLERANCE:.0e}: graph, tokenizer, templates and bank do not belong together. Export the bundle again with "
                "--text-encoder."
            )


def embeddings_of(bundle: Bundle, prompts: Sequence[str], encoder: TextEncoder | None) -> NDArray[np.float32]:
    """Embeds prompts from the bundle's bank, and what it lacks by the encoder.

    Args:
        bundle: an opened bundle.
        prompts: C words or phrases.
        encoder: of the same bundle; None where it has none.

    Returns:
        (C, D) float32 unit rows, in the order of the prompts.

    Raises:
        TextError: no prompts, words that neither can embed.
    """
    if not prompts:
        raise TextError("prompts: none; expected one or more words.")
    missing = bundle.text.missing(prompts)
    if missing and encoder is None:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise TextError(
            f"prompts: the text bank has no {', '.join(map(_shown, missing[:5]))}{more}, and this bundle has no text encoder. "
            "Use prompts of the bank, or export the bundle with `python -m export.trt CHECKPOINT --text-encoder` for any words."
        )
    new = dict(zip(missing, encoder.encode(missing), strict=True)) if missing and encoder is not None else {}
    known = iter(bundle.text.lookup([prompt for prompt in prompts if prompt not in new]))
    return np.stack([new[prompt] if prompt in new else next(known) for prompt in prompts])


def _tokenizer(bundle: Bundle) -> Any:
    try:
        from tokenizers import Tokenizer  # here, since only new words need it
    except ImportError as error:
        raise TextError(
            f"text encoder: the package `tokenizers` is not installed ({error}), which splits new words into tokens; "
            "install it with the extra `text` or `pip install tokenizers`, or use prompts of the text bank."
        ) from error
    path = bundle.path / TEXT_TOKENIZER
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # it raises bare Exception
        raise BundleError(f"{path}: not a tokenizer ({error}); export the bundle again with --text-encoder.") from error


def _session(bundle: Bundle, threads: int) -> onnxruntime.InferenceSession:
    path = bundle.path / TEXT_ONNX
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # failures come as exceptions
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base but Exception
        raise BundleError(
            f"{path}: ONNX Runtime cannot load it ({error}); export the bundle again with --text-encoder."
        ) from error


def _check_text(prompt: str) -> None:
    """Refuses what encoders would repair each in its own way, or embed as nothing."""
    if not prompt.strip():
        raise TextError("text encoder: an empty prompt; expected a word or a phrase.")
    odd = next((c for c in prompt if unicodedata.category(c) in ("Cc", "Cs")), None)
    if odd is not None:
        raise TextError(f"text encoder: {_shown(prompt)} holds the character U+{ord(odd):04X}, which is no text; remove it.")
    if html.unescape(prompt) != prompt:
        raise TextError(f"text encoder: {_shown(prompt)} holds an HTML entity; write {_shown(html.unescape(prompt))} instead.")


def _shown(text: str) -> str:
    return repr(text) if len(text) <= 60 else repr(text[:57] + "...")
