"""report.html in a browser: no console message, all pictures there, nothing fetched; and safe against names from outside."""

import io
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from relidar import charts, from_above, png
from relidar.bag_replay import replay_bag
from relidar.loaded_model import load_model
from relidar.replay_options import ReplayOptions
from relidar.replay_report import write
from relidar.truth import TruthSource

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVIL = '<script>console.log("hurt")</script>'
QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--v=0",
]  # fmt: skip
PROBE = """<script>
const images = [...document.images];
document.title = JSON.stringify({images: images.length, loaded: images.filter(i => i.complete && i.naturalWidth > 0).length,
  fetched: performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length,
  charts: [...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().width > 100).length,
  wide: document.documentElement.scrollWidth > window.innerWidth});
</script></body>"""


@pytest.fixture(scope="module")
def page(
    tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path, record: Callable, scan_of: Callable, random_cloud: Callable
) -> str:
    """A report of a bag with truth and a hostile name, with corruptions and a bag that failed."""
    folder = tmp_path_factory.mktemp("page")
    random = np.random.default_rng(0)
    clouds = [random_cloud(800, seed) for seed in range(3)]
    scans = [scan_of(cloud.xyz_m, cloud.intensity, random.choice([1, 7, 9], 800)) for cloud in clouds]
    (folder / "map.yaml").write_text(
        "name: two\nclasses:\n  - {name: car, truth: [1], predicted: [car]}\n"
        "  - {name: '<b>wall</b>', truth: [7], predicted: [manmade]}\n  - {name: absent, truth: [8], predicted: []}\n"
    )
    bag = record(folder / "dr<i>ve", scans)
    options = ReplayOptions(
        tiny_bundle,
        truth=TruthSource("category"),
        truth_map=folder / "map.yaml",
        corruptions=("rain:1", "rain:5", "dropout:3"),
    )
    model = load_model(tiny_bundle, "onnxruntime-cpu")
    replay_bag(bag, folder / "result", model, options)
    write(folder, model.bundle, {bag: folder / "result"}, {Path("bad"): f"bad: {EVIL}"}, options)
    return (folder / "report.html").read_text()


def test_the_page_needs_nothing_from_outside_and_escapes_names(page: str) -> None:
    assert not re.findall(r"""(?:src|href)=["'](?!data:)|@import|url\(|https?://""", page)
    assert "<script" not in page
    assert "&lt;b&gt;wall&lt;/b&gt;" in page
    assert "<b>" not in page
    assert "dr<i>" not in page
    assert "Not in the truth: absent." in page
    assert page.count("<img ") == 9
    for chart in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ET.fromstring(chart)  # noqa: S314  # our own text


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_page_opens_in_a_browser_without_a_message(page: str, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page.replace("</body>", PROBE))
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()]
    environment = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200, env=environment)
    told = re.search(r"<title>(\{.*?\})</title>", done.stdout)
    assert told is not None
    assert told[1] == '{"images":9,"loaded":9,"fetched":0,"charts":5,"wide":false}'
    assert "CONSOLE" not in done.stderr


def test_a_png_is_what_was_drawn() -> None:
    image = pytest.importorskip("PIL.Image")
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    np.testing.assert_array_equal(np.asarray(image.open(io.BytesIO(png.encode(rgb)))), rgb)


def test_a_scan_from_above_has_x_to_the_right_and_y_up() -> None:
    xyz_m = np.array([[30, 0, 0], [0, 30, 0], [0, 30, 5], [np.nan, 0, 0], [99, 0, 0]], np.float32)
    rgb = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9], [8, 8, 8]], np.uint8)
    picture = from_above.draw(xyz_m, rgb)
    (red_row, red_column), *_ = np.argwhere((picture == rgb[0]).all(axis=2))
    (blue_row, blue_column), *_ = np.argwhere((picture == rgb[2]).all(axis=2))
    middle = from_above.SIZE / 2
    assert red_column > middle + 100
    assert abs(red_row - middle) < 3
    assert blue_row < middle - 100
    assert abs(blue_column - middle) < 3
    assert not any((picture == colour).all(axis=2).any() for colour in (rgb[1], rgb[3], rgb[4]))


def test_scores_become_lighter() -> None:
    colours = from_above.colours_of_score(np.array([-1, 0, 0.5, 1, 2, np.nan], np.float32))
    assert colours[0].tolist() == colours[1].tolist() == colours[5].tolist() == [68, 1, 84]
    assert colours[3].tolist() == colours[4].tolist() == [253, 231, 37]
    assert colours[2].sum() > colours[1].sum()


@pytest.mark.parametrize("high", [0.0, 0.03, 1, 7, 99, 12345])
def test_axes_have_a_few_round_ticks(high: float) -> None:
    chart = charts.lines({"a": [(0.0, high)], "b": []}, (0.0, 5.0), (0.0, high), "x", "y", "a < b & c")
    numbers = [float(text) for text in re.findall(r'text-anchor="end">([\d.e+-]+)<', chart)]
    assert 2 <= len(numbers) <= 8
    assert numbers[0] == 0
    ET.fromstring(chart)  # noqa: S314  # our own text
