"""Numbers of keys against a dictionary."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from relidar.key_numbers import number_keys, slots_needed


@settings(deadline=None)
@given(
    keys=st.lists(st.integers(-2, 40) | st.integers(-(2**63), 2**63 - 1), max_size=300)
    # Multiples of a power of two are what a poor hash puts into one slot.
    | st.lists(st.integers(0, 100).map(lambda value: value << 54), max_size=200)
)
def test_keys_are_numbered_in_the_order_in_which_they_occur(keys: list[int]) -> None:
    numbers, distinct = np.empty(len(keys), np.int32), np.empty(len(keys), np.int64)
    slots = np.empty(slots_needed(len(keys)), np.int32)
    count = number_keys(np.array(keys, np.int64), slots, numbers, distinct)
    number_of = {key: number for number, key in enumerate(dict.fromkeys(key for key in keys if key >= 0))}
    assert distinct[:count].tolist() == list(number_of)
    assert numbers.tolist() == [number_of.get(key, -1) for key in keys]


def test_a_map_is_at_most_half_full() -> None:
    for entries in (0, 1, 7, 8, 9, 1000, 1024, 1025):
        slots = slots_needed(entries)
        assert slots & (slots - 1) == 0
        assert 2 * entries <= slots <= max(16, 4 * entries)
