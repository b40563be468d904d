"""Embeds the prompts of a prompt set once, so that nothing at run time needs a text model.

  python -m export.text --prompts configs/prompts/nuscenes16.yaml --encoder sentence --out runs/text.safetensors

The encoder must be the one whose space the student was trained in: sentence, or open_clip:MODEL:PRETRAINED.
"""

from pathlib import Path

from distill.text_encoders import embed_prompts, make_text_encoder
from relidar import command_line
from relidar.prompts import load_prompt_set
from relidar.text_bank import save_text_bank


def main() -> None:
    """The command."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--prompts", type=Path, required=True, help="prompt set (YAML)")
    parser.add_argument("--encoder", default="sentence")
    parser.add_argument("--out", type=Path, required=True, help="text bank to write (.safetensors)")
    arguments = parser.parse_args()
    prompt_set = load_prompt_set(arguments.prompts)
    bank = embed_prompts(make_text_encoder(arguments.encoder), prompt_set)
    save_text_bank(bank, arguments.out)
    command_line.say(f"text bank: {arguments.out} ({len(bank.prompts)} prompts, {bank.embeddings.shape[1]} wide, {bank.encoder})")


if __name__ == "__main__":
    command_line.run(main)
