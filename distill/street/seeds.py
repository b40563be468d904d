"""Random generators for each use, so that training, validation, bag and teacher images never share a city."""

import hashlib

import numpy as np

TRAIN, VAL, BAG, IMAGES = range(4)


def generator(seed: int, use: int, index: int, part: int = 0) -> np.random.Generator:
    """The generator of one scene (part 0) or of one of its scans (part 1 + scan): no two of them share a stream."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(use, index, part)))


def token(*words: object) -> str:
    """A nuScenes token: 32 hexadecimal digits that depend on the words alone."""
    return hashlib.sha256("/".join(map(str, words)).encode()).hexdigest()[:32]
