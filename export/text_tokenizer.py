"""CLIP's tokenizer as `tokenizers` JSON, which a vehicle reads without torch, open_clip or ftfy.

The byte-pair encoding is rebuilt from the vocabulary that open_clip holds. What ftfy does to a prompt before is repeated as far
as typed text needs it: curly quotes, ligatures, full-width letters, invisible characters and composition. Not repeated are HTML
entities, which `relidar.text_encoder` refuses, and text once decoded with the wrong code page. A prompt that spells out CLIP's
own marks, such as ":<end_of_text>", may be split elsewhere.
"""

import re
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.normalizers import NFC, Lowercase, Normalizer, Replace
from tokenizers.normalizers import Sequence as Normalizers
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as PreTokenizers
from tokenizers.processors import TemplateProcessing

from relidar.errors import TextError

WORDS = r"'[sſ]|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""CLIP's pattern of what byte-pair encoding may not cross."""
LAST_SIGMA = r"(?<=[\p{Ll}\p{Lu}])Σ(?!['.:·^`\p{Mn}\p{Me}\p{Cf}\p{Lm}\p{Sk}]*[ªº\p{Ll}\p{Lu}])"
"""A sigma at the end of a word, which Python lowers to another letter than `tokenizers` does."""
INVISIBLE = "[\u206a-\u206f\ufeff\ufff9-\ufffc]"
"""What ftfy removes and a prompt may hold; the control characters among them are refused before."""


def clip_tokenizer(reference: Any, pads_to_context: bool) -> Tokenizer:
    """The tokenizer that gives the ids of an `open_clip.SimpleTokenizer`.

    Args:
        reference: open_clip's tokenizer of a model.
        pads_to_context: fill every row with zeros to the context length, for a tower whose tokens see what comes after them;
            without, rows end with their text, which spares the tower most of its work.

    Raises:
        TextError: a tokenizer of another kind, such as SigLIP's.
    """
    from ftfy.chardata import LIGATURES, WIDTH_MAP  # here, since they come with open_clip
    from open_clip.tokenizer import SimpleTokenizer, get_clean_fn

    if type(reference) is not SimpleTokenizer or reference.clean_fn is not get_clean_fn("lower") or reference.reduction_fn:
        raise TextError(
            f"text encoder: cannot export the tokenizer {type(reference).__name__}; expected CLIP's own byte-pair encoding. "
            "Export without --text-encoder, which needs all prompts beforehand."
        )
    merges = sorted(reference.bpe_ranks, key=reference.bpe_ranks.__getitem__)
    tokenizer = Tokenizer(BPE(dict(reference.encoder), merges, end_of_word_suffix="</w>"))
    tokenizer.normalizer = Normalizers(
        [
            *_replacements(LIGATURES),
            *_replacements(WIDTH_MAP),
            Replace(Regex("[\u201c-\u201f]"), '"'),
            Replace(Regex("[\u02bc\u2018-\u201b]"), "'"),
            Replace(Regex(INVISIBLE), ""),
            NFC(),
            Replace(Regex(LAST_SIGMA), "ς"),
            Lowercase(),
        ]
    )
    tokenizer.pre_tokenizer = PreTokenizers(
        [Split(Regex(WORDS), behavior="removed", invert=True), ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    start, end = (reference.decoder[index] for index in (reference.sot_token_id, reference.eot_token_id))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=True) for token in (start, end)])
    tokenizer.post_processor = TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, reference.sot_token_id), (end, reference.eot_token_id)]
    )
    if pads_to_context:
        tokenizer.enable_padding(pad_id=0, pad_token="!", length=reference.context_length)  # noqa: S106, no password
    return tokenizer


def _replacements(table: dict[int, str]) -> list[Normalizer]:
    """One normalizer for each run of characters that become the same text."""
    sources: dict[str, list[str]] = {}
    for code, target in table.items():
        sources.setdefault(target, []).append(re.escape(chr(code)))
    return [Replace(Regex("|".join(characters)), target) for target, characters in sources.items()]
