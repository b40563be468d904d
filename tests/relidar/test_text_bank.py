from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from relidar.errors import TextError
from relidar.text_bank import TextBank, load_text_bank, save_text_bank

BANK = TextBank("sentence", ("car", "Straßenbahn, 'tram'", "tree"), np.eye(3, 5, dtype=np.float32))


def test_comes_back_as_it_was(tmp_path: Path) -> None:
    save_text_bank(BANK, tmp_path / "t.safetensors")
    again = load_text_bank(tmp_path / "t.safetensors")
    assert (again.encoder, again.prompts) == (BANK.encoder, BANK.prompts)
    assert np.array_equal(again.embeddings, BANK.embeddings)


def test_lookup_gives_rows_in_the_asked_order() -> None:
    assert np.array_equal(BANK.lookup(["tree", "car", "tree"]), BANK.embeddings[[2, 0, 2]])
    assert BANK.missing(["car", "bus", "tram", "bus"]) == ["bus", "tram"]
    with pytest.raises(TextError, match=r"no embedding of 'bus'; the bank holds 3 prompts\. Make a bank of all words with"):
        BANK.lookup(["car", "bus"])


@pytest.mark.parametrize(
    ("embeddings", "metadata", "message"),
    [
        (np.eye(2, dtype=np.float32), {"encoder": "e", "prompts": '["a"]'}, "for 1 prompts"),
        (np.eye(2), {"encoder": "e", "prompts": '["a", "b"]'}, "float64"),
        (2 * np.eye(2, dtype=np.float32), {"encoder": "e", "prompts": '["a", "b"]'}, "not unit rows"),
        (np.full((2, 2), np.nan, np.float32), {"encoder": "e", "prompts": '["a", "b"]'}, "not unit rows"),
        (np.eye(2, dtype=np.float32), {"prompts": '["a", "b"]'}, "encoder"),
        (np.eye(2, dtype=np.float32), {"encoder": "e", "prompts": "["}, "not a text bank"),
        (np.eye(2, dtype=np.float32), {"encoder": "e", "prompts": "3"}, "not a text bank"),
    ],
)
def test_inconsistent_banks_are_refused(tmp_path: Path, embeddings: np.ndarray, metadata: dict[str, str], message: str) -> None:
    save_file({"embeddings": embeddings}, tmp_path / "t.safetensors", metadata)
    with pytest.raises(TextError, match=message):
        load_text_bank(tmp_path / "t.safetensors")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    with pytest.raises(TextError, match="not a text bank"):
        load_text_bank(path)
    save_text_bank(BANK, path)
    whole = path.read_bytes()
    for length in (0, 4, 40, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(TextError, match="not a text bank"):
            load_text_bank(path)
