"""Vocabularies: what a list of words, a file or nothing stands for; ids and colours that stay."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from relidar.bundle import Bundle, open_bundle
from relidar.errors import ConfigError, RelidarError, TextError
from relidar.prompts import UNLABELLED, ClassPrompts
from relidar.vocabulary import WordSource, build_vocabulary, classes_of_entries, colour_of, similarity_fields

BASE = (
    ClassPrompts(id=0, name="car", prompts=("car", "van"), rgb=(1, 2, 3)),
    ClassPrompts(id=2, name="tree", prompts=("tree",), rgb=(4, 5, 6)),
)


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return open_bundle(tiny_bundle)


def test_entries_keep_the_bundles_classes_and_give_new_ones_free_ids_and_colours_of_their_own() -> None:
    entries = ["hedge", " tree ", "person: pedestrian,  child", "car: estate car"]
    classes = classes_of_entries(entries, BASE)
    assert [(c.id, c.name, c.prompts) for c in classes] == [
        (1, "hedge", ("hedge",)),
        (2, "tree", ("tree",)),
        (3, "person", ("pedestrian", "child")),
        (0, "car", ("estate car",)),
    ]
    assert [classes[1].rgb, classes[3].rgb] == [(4, 5, 6), (1, 2, 3)]
    # A colour is of the name, wherever and with whatever it stands.
    assert {c.name: c.rgb for c in classes_of_entries(["person", "hedge: bush"], BASE)} == {
        c.name: c.rgb for c in classes if c.name in ("person", "hedge")
    }
    assert classes_of_entries(["car"], BASE) == BASE[:1]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["car", "tree", "car: van"], "'car' occurs twice"),
        (["car:"], "'car:' is no class"),
        (["car: van,,bus"], "is no class"),
        ([": van"], "is no class"),
        (["unlabelled"], "is no class"),
        ([f"thing {number}" for number in range(254)], "a label is one byte"),
    ],
)
def test_entries_that_make_no_sense_are_refused(entries: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        classes_of_entries(entries, BASE)


def test_253_new_classes_fit() -> None:
    classes = classes_of_entries([f"thing {number}" for number in range(253)], BASE)
    assert len({c.id for c in classes}) == 253
    assert max(c.id for c in classes) == UNLABELLED - 1


def test_colours_of_names_are_vivid_and_differ() -> None:
    colours = [colour_of(name) for name in ("car", "hedge", "person", "road", "wall", "dog")]
    assert len(set(colours)) == len(colours)
    assert all(max(rgb) - min(rgb) > 60 and max(rgb) > 150 for rgb in colours)


def test_query_fields_are_plain_and_distinct() -> None:
    assert similarity_fields(["car", "Traffic-Cone (orange)"]) == ("similarity_car", "similarity_traffic_cone_orange")
    (foreign,) = similarity_fields(["汽车"])
    assert foreign.isascii()
    assert len(foreign) > len("similarity_")
    with pytest.raises(ConfigError, match="both become field similarity_a_b"):
        similarity_fields(["a b", "a-b"])
    with pytest.raises(ConfigError, match="33 queries, expected at most 32"):
        similarity_fields([str(number) for number in range(33)])


def test_nothing_asked_is_the_bundles_vocabulary(bundle: Bundle) -> None:
    vocabulary = build_vocabulary(WordSource(bundle))
    assert (vocabulary.version, vocabulary.classes, vocabulary.fields) == (1, bundle.manifest.classes, ())
    # The embedding of a class's own word is labelled as that class.
    scorer = vocabulary.scorer
    answer = scorer.words.scores(np.stack([bundle.text.lookup(c.prompts)[0] for c in vocabulary.classes]))
    assert scorer.labels(answer).tolist() == [c.id for c in vocabulary.classes]
    info = vocabulary.label_info()
    assert info["class_map"][3] == {"class_id": 3, "class_name": "car", "prompts": ["car"], "rgb": [48, 207, 128]}
    assert (info["threshold"], info["unlabelled"], info["version"]) == (-1.0, 255, 1)


def test_words_of_the_bank_make_new_classes_and_queries(bundle: Bundle) -> None:
    vocabulary = build_vocabulary(WordSource(bundle), 7, ["vehicle: car, bus", "truck"], queries=["car", "trailer"])
    features = bundle.text.lookup(["bus", "car", "truck"])
    answer = vocabulary.scorer.words.scores(features)
    assert vocabulary.scorer.labels(answer).tolist() == [16, 16, 9]
    np.testing.assert_allclose(answer.score, 1, atol=1e-5)
    np.testing.assert_allclose(answer.similarity, features @ bundle.text.lookup(["car", "trailer"]).T, atol=1e-6)
    assert vocabulary.ids_of("here", ["vehicle", "unlabelled"]) == {16, UNLABELLED}
    with pytest.raises(ConfigError, match="here: no class 'car'; give some of unlabelled, vehicle, truck"):
        vocabulary.ids_of("here", ["car"])


@pytest.mark.parametrize(("entries", "queries"), [(["car", "zeppelin"], []), ([], ["zeppelin"])])
def test_words_that_cannot_be_embedded_are_named(bundle: Bundle, entries: list[str], queries: list[str]) -> None:
    with pytest.raises(TextError, match="'zeppelin'"):
        build_vocabulary(WordSource(bundle), 1, entries, queries=queries)


def test_a_prompt_set_in_a_file_brings_its_ids_and_colours(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump({"name": "x", "classes": [{"id": 9, "name": "c", "prompts": ["car"], "rgb": [9, 8, 7]}]}))
    vocabulary = build_vocabulary(WordSource(bundle), prompts_file=str(path))
    assert vocabulary.classes == (ClassPrompts(id=9, name="c", prompts=("car",), rgb=(9, 8, 7)),)
    assert vocabulary.colours[9].view(np.uint32) == 0x090807
    with pytest.raises(RelidarError, match="no such file"):
        build_vocabulary(WordSource(bundle), prompts_file=str(tmp_path / "absent.yaml"))
