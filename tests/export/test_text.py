import subprocess
import sys
from pathlib import Path

import pytest

from export.text import main
from relidar.errors import TextError
from relidar.prompts import load_prompt_set
from relidar.text_bank import load_text_bank

PROMPTS = "name: two\ntemplates: ['a {}', 'the {}']\nclasses:\n" + "".join(
    f"  - {{id: {i}, name: {name}, prompts: [{name}], rgb: [0, 0, {i}]}}\n" for i, name in enumerate(("car", "tree"))
)


def test_bank_holds_every_prompt(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(PROMPTS)
    out = tmp_path / "t.safetensors"
    command = [sys.executable, "-m", "export.text", "--prompts", tmp_path / "p.yaml", "--encoder", "sentence", "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    bank = load_text_bank(out)
    assert bank.encoder == "sentence"
    assert bank.prompts == load_prompt_set(tmp_path / "p.yaml").prompts
    assert bank.embeddings.shape == (2, 384)
    assert 0 < bank.embeddings[0] @ bank.embeddings[1] < 0.9


def test_unknown_encoder_is_told_and_nothing_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.yaml").write_text(PROMPTS)
    out = tmp_path / "t.safetensors"
    monkeypatch.setattr(sys, "argv", ["text", "--prompts", str(tmp_path / "p.yaml"), "--encoder", "telepathy", "--out", str(out)])
    with pytest.raises(TextError, match="telepathy"):
        main()
    assert not out.exists()
