"""Means, spreads and correlations from records, the learning rate chosen where nothing else is tested."""

from typing import Any

import pytest
from matplotlib.figure import Figure

from distill.compare.figure import draw
from distill.compare.summary import chosen, correlations, few_labels, table, zero_shot

GAPS = {"modality_gap": 0.0, "alignment": 0.0, "uniformity_gap": 0.0, "relation_gap": 0.0}


def record(loss: str, lr: float, seed: int, name: str, miou: float, **others: Any) -> dict[str, Any]:
    facts = {"teacher": "street_clip", "loss": loss, "lr": lr, "seed": seed, "set": name, "miou": miou}
    return facts | {"protocol": "zero_shot", "text_shift": 0.0, "text_gap": 0.6, "gaps": GAPS} | others


def k_shot(loss: str, lr: float | None, seed: int, k: int, miou: float) -> dict[str, Any]:
    facts = {"teacher": None if lr is None else "street_clip", "loss": loss, "lr": lr, "seed": seed, "set": "vlp32-mit"}
    return facts | {"protocol": "k_shot", "k": k, "miou": miou}


RECORDS = [
    record("relational", 1e-3, 0, "street-tuning", 10.0),
    record("relational", 1e-3, 0, "street", 99.0),  # better where it is tested, but the tuning keyframes chose the other
    record("relational", 1e-2, 0, "street-tuning", 30.0),
    record("relational", 1e-2, 0, "street", 32.0),
    record("relational", 1e-2, 1, "street-tuning", 1.0),
    record("relational", 1e-2, 1, "street", 36.0),
    record("contrastive", 1e-3, 0, "street-tuning", 20.0),
    record("contrastive", 1e-3, 0, "street", 21.0),
    record("contrastive", 1e-3, 0, "street", 11.0, text_shift=1.0, text_gap=0.8),
    k_shot("relational", 1e-2, 0, 1, 40.0),
    k_shot("relational", 1e-3, 0, 1, 90.0),
    k_shot("random", None, 0, 1, 20.0),
    k_shot("random", None, 1, 1, 24.0),
]


def test_the_tuning_keyframes_choose_the_learning_rate() -> None:
    assert {(r["loss"], r["lr"]) for r in chosen(RECORDS)} == {("relational", 1e-2), ("contrastive", 1e-3), ("random", None)}


def test_the_seed_that_tried_every_rate_chooses_and_not_the_lowest() -> None:
    records = [r | {"seed": 7 - r["seed"]} for r in RECORDS]
    assert {(r["loss"], r["lr"]) for r in chosen(records)} == {("relational", 1e-2), ("contrastive", 1e-3), ("random", None)}


def test_seeds_that_tried_every_rate_choose_by_their_mean() -> None:
    more = [record("relational", 1e-3, 1, "street-tuning", 60.0), record("relational", 1e-2, 2, "street-tuning", 99.0)]
    assert ("relational", 1e-3) in {(r["loss"], r["lr"]) for r in chosen([*RECORDS, *more])}  # (10 + 60) / 2 > (30 + 1) / 2
    apart = [record("scalr", 1e-3, 0, "street-tuning", 1.0), record("scalr", 1e-2, 1, "street-tuning", 2.0)]
    assert not [r for r in chosen([*RECORDS, *apart]) if r["loss"] == "scalr"]


def test_means_and_spreads_are_over_seeds_and_leave_out_the_tuning_keyframes() -> None:
    scored = zero_shot(RECORDS)
    assert {key[1] for key in scored} == {"street"}
    relational = scored["street_clip", "street", 0.0, "relational"]
    assert (relational.mean, relational.seeds) == (34.0, 2)
    assert relational.deviation == pytest.approx(8**0.5)
    assert scored["street_clip", "street", 1.0, "contrastive"].mean == 11.0
    learned = few_labels(RECORDS)
    assert learned["street_clip", "vlp32-mit", 1, "relational"].mean == 40.0
    assert learned[None, "vlp32-mit", 1, "random"].mean == 22.0


def test_correlation_is_over_all_runs_whatever_their_learning_rate() -> None:
    # The wider the relation gap, the lower the mIoU, but not in a line; alignment goes the other way.
    runs = [
        record("similarity", lr, seed, "street", miou, gaps=GAPS | {"relation_gap": 1 / miou, "alignment": miou**3})
        for seed, (lr, miou) in enumerate([(1e-3, 10.0), (3e-3, 15.0), (1e-2, 30.0), (3e-2, 31.0)])
    ]
    with pytest.warns(match="constant"):  # the two gaps that do not vary
        found = correlations(runs)
    assert found["street_clip"]["relation_gap"] == pytest.approx(-1)
    assert found["all"]["alignment"] == pytest.approx(1)


def test_the_table_and_the_figure_show_every_loss() -> None:
    varied = [r | {"gaps": {name: r["miou"] + i for i, name in enumerate(GAPS)}} if "gaps" in r else r for r in RECORDS]
    text = table(varied)
    assert "| relational | 34.0 ± 2.8 |" in text
    assert "words moved out by 1" in text
    assert "| random | 22.0 ± 2.8 |" in text
    figure = draw(varied)
    assert figure.startswith("<?xml")
    assert figure == draw(varied)


def panels(records: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The titles of the figure's panels, by row."""
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: figures.append(self))
    draw(records)
    return [axis.get_title() for axis in figures[0].axes]


def test_each_teacher_has_panels_of_its_own_that_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [r | {"teacher": t} for r in RECORDS for t in ("street_clip", "pixel_text") if r["teacher"]]
    titles = panels([*both, *(r for r in RECORDS if not r["teacher"])], monkeypatch)
    assert titles == [
        *(f"zero-shot, teacher {t}" for t in ("street_clip", "pixel_text")),
        *(f"words moved out of the images, teacher {t}" for t in ("street_clip", "pixel_text")),
        "all runs: structural gap and mIoU",
        "k-shot, vlp32-mit\nteacher street_clip",
    ]


def test_without_runs_of_a_teacher_the_figure_shows_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = [r for r in RECORDS if r["loss"] == "random"]
    assert panels(alone, monkeypatch) == ["k-shot, vlp32-mit"]
    assert panels([], monkeypatch) == []
