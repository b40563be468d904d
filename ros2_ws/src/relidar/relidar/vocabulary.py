"""The vocabulary: which classes points are sorted into, by which words, in which colours. Immutable: a scan sees one only.

It starts as the bundle's classes and can be replaced at run time: by a list of words, or by a prompt set in a file. Ids and
colours of the bundle's classes never change; a new class gets a colour that depends on its name alone.
"""

import colorsys
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relidar.bundle import Bundle
from relidar.errors import ConfigError
from relidar.labelled_cloud import colours_of
from relidar.prompts import UNLABELLED, ClassPrompts, load_prompt_set
from relidar.segmenter import ClassScorer
from relidar.text_bank import TextBank
from relidar.text_encoder import TextEncoder, embeddings_of
from relidar.words import MOST_QUERIES

UNLABELLED_NAME = "unlabelled"


@dataclass
class WordSource:
    """Embeddings of words: from the bundle's bank, else by its text encoder, opened for the first word that needs it."""

    bundle: Bundle
    _encoder: TextEncoder | None = field(default=None, init=False)

    def bank_of(self, prompts: Sequence[str]) -> TextBank:
        """A bank with exactly these prompts; raises TextError or BundleError for words that cannot be embedded."""
        distinct = tuple(dict.fromkeys(prompts))
        if self._encoder is None and self.bundle.text.missing(distinct):
            self._encoder = TextEncoder.open(self.bundle)
        return TextBank(self.bundle.text.encoder, distinct, embeddings_of(self.bundle, distinct, self._encoder))


@dataclass(frozen=True)
class Vocabulary:
    """Classes, queries and all that answering with them takes."""

    version: int
    """Counts the vocabularies of one node, from 1."""
    classes: tuple[ClassPrompts, ...]
    queries: tuple[str, ...]
    scorer: ClassScorer
    threshold: float
    """A point whose best cosine is lower stays unlabelled."""
    colours: NDArray[np.float32]
    """(256,) packed rgb by label."""
    fields: tuple[str, ...]
    """Field of the cloud for each query."""

    def ids_of(self, where: str, names: Iterable[str]) -> frozenset[int]:
        """Labels of classes by name, `unlabelled` included; raises ConfigError, naming `where`, for a name that there is not."""
        id_of = {UNLABELLED_NAME: UNLABELLED} | {c.name: c.id for c in self.classes}
        unknown = [name for name in names if name not in id_of]
        if unknown:
            raise ConfigError(f"{where}: no class {', '.join(map(repr, unknown))}; give some of {', '.join(id_of)}.")
        return frozenset(id_of[name] for name in names)

    def label_info(self) -> dict[str, Any]:
        """What the labels mean, as plain data: class_map of {class_id, class_name, prompts, rgb}, threshold, version."""
        classes = [{"class_id": c.id, "class_name": c.name, "prompts": list(c.prompts), "rgb": list(c.rgb)} for c in self.classes]
        return {"class_map": classes, "unlabelled": UNLABELLED, "threshold": self.threshold, "version": self.version}


def build_vocabulary(
    words: WordSource, version: int = 1, entries: Sequence[str] = (), prompts_file: str = "", queries: Sequence[str] = ()
) -> Vocabulary:
    """The vocabulary that a user asks for.

    Args:
        words: of the bundle.
        version: of the new vocabulary.
        entries: classes such as "person: pedestrian, child". A name alone stands for the bundle's class of that name, or is
            its own prompt. Empty: as `prompts_file` says.
        prompts_file: a prompt set, whose ids and colours count; its templates do not, since they are the bundle's. Empty: the
            bundle's classes.
        queries: words whose cosine is wanted for every point.

    Raises:
        ConfigError: entries, file or queries that make no sense. TextError: words that cannot be embedded, by name.
    """
    manifest = words.bundle.manifest
    fields = similarity_fields(queries)
    if entries:
        classes = classes_of_entries(entries, manifest.classes)
    elif prompts_file:
        classes = load_prompt_set(Path(prompts_file)).classes
    else:
        classes = manifest.classes
    bank = words.bank_of([*(prompt for c in classes for prompt in c.prompts), *queries])
    scorer = ClassScorer(classes, bank, manifest.unknown_threshold, queries)
    threshold = manifest.unknown_threshold
    return Vocabulary(version, classes, tuple(queries), scorer, threshold, colours_of(classes), fields)


def classes_of_entries(entries: Sequence[str], base: Sequence[ClassPrompts]) -> tuple[ClassPrompts, ...]:
    """Reads entries such as "car" and "person: pedestrian, child"; `base` are the bundle's classes. Raises ConfigError."""
    known = {c.name: c for c in base}
    free = (number for number in range(UNLABELLED) if number not in {c.id for c in base})
    classes = []
    for entry in entries:
        name, colon, rest = (part.strip() for part in entry.partition(":"))
        prompts = tuple(prompt.strip() for prompt in rest.split(",")) if colon else ()
        if not name or not all(prompts) or name == UNLABELLED_NAME:
            raise ConfigError(f"prompts: {entry!r} is no class; write 'name' or 'name: prompt, prompt', not {UNLABELLED_NAME!r}.")
        if name in known:
            classes.append(known[name].model_copy(update={"prompts": prompts}) if prompts else known[name])
            continue
        number = next(free, None)
        if number is None:
            raise ConfigError(f"prompts: {len(entries)} classes, but a label is one byte; give fewer.")
        classes.append(ClassPrompts(id=number, name=name, prompts=prompts or (name,), rgb=colour_of(name)))
    twice = sorted({c.name for c in classes if sum(other.name == c.name for other in classes) > 1})
    if twice:
        raise ConfigError(f"prompts: {', '.join(map(repr, twice))} occurs twice; give all prompts of a class in one entry.")
    return tuple(classes)


def colour_of(name: str) -> tuple[int, int, int]:
    """A vivid colour that depends on the name alone."""
    digest = hashlib.sha256(name.encode()).digest()
    hue = int.from_bytes(digest[:2], "big") / 65536
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.55 + digest[2] / 640, 0.7 + digest[3] / 850)
    return round(255 * red), round(255 * green), round(255 * blue)


def similarity_fields(queries: Sequence[str]) -> tuple[str, ...]:
    """Field names similarity_<slug> of queries; raises ConfigError where two become the same or there are too many."""
    if len(queries) > MOST_QUERIES:
        raise ConfigError(f"similarity_prompts: {len(queries)} queries, expected at most {MOST_QUERIES}.")
    query_of: dict[str, str] = {}
    for query in queries:
        slug = re.sub(r"[^a-z0-9]+", "_", query.lower()).strip("_")[:40]
        # A query without a Latin letter still needs a name that every reader of clouds can spell.
        name = "similarity_" + (slug or hashlib.sha256(query.encode()).hexdigest()[:8])
        if name in query_of:
            raise ConfigError(f"similarity_prompts: {query_of[name]!r} and {query!r} both become field {name}; leave one out.")
        query_of[name] = query
    return tuple(query_of)
