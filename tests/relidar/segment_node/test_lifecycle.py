"""Transitions from another node while scans arrive: every scan is accounted for, and another bundle can be loaded."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from relidar.bundle import MANIFEST
from relidar.pointcloud2 import CloudLayout, decode, layout_of

# Of the message generator that rclpy imports.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_.*' is deprecated:DeprecationWarning")
Scan = tuple[CloudLayout, bytes]


@pytest.fixture(scope="module")
def other_bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network with three classes under other ids."""
    path = tmp_path_factory.mktemp("other") / "bundle"
    shutil.copytree(tiny_bundle, path)
    manifest = yaml.safe_load((path / MANIFEST).read_text())
    manifest["classes"] = [{**c, "id": c["id"] + 100} for c in manifest["classes"][:3]]
    (path / MANIFEST).write_text(yaml.safe_dump(manifest))
    return path


@contextmanager
def scans_arriving(peer: Any, scan: Scan, rate_hz: float = 20) -> Iterator[list[int]]:
    """Sends from another thread; yields how many were sent."""
    sent = [0]
    stop = threading.Event()

    def send() -> None:
        while not stop.wait(1 / rate_hz):
            peer.send(*scan)
            sent[0] += 1

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield sent
    finally:
        stop.set()
        thread.join()


def test_all_transitions_and_another_bundle_while_scans_arrive(
    peer: Any, scan: Scan, tiny_bundle: Path, other_bundle: Path
) -> None:
    def labels() -> set[int]:
        seen = len(peer.received["segmentation"])
        peer.wait(lambda: len(peer.received["segmentation"]) > seen + 2)
        answer = peer.received["segmentation"][-1]
        return set(decode(layout_of(answer), answer.data).values("label").tolist()) - {255}

    peer.listen("segmentation")
    with scans_arriving(peer, scan):
        assert max(labels()) < 16
        assert "only while the node is unconfigured" in peer.set(bundle=str(other_bundle))
        assert peer.transition("deactivate")
        assert peer.state() == "inactive"
        # Neither of these is a transition from here.
        assert not peer.transition("deactivate")
        assert not peer.transition("configure")
        assert peer.transition("activate")
        assert peer.transition("deactivate")
        assert peer.transition("cleanup")
        assert peer.set_prompts() == (False, "not configured")
        assert peer.set(bundle="/nowhere") == ""
        assert not peer.transition("configure")
        assert peer.state() == "unconfigured"
        peer.wait(lambda: peer.level == b"\x02" and "/nowhere: no manifest.yaml there" in peer.message)
        assert peer.set(bundle=str(other_bundle)) == ""
        assert peer.transition("configure")
        assert peer.transition("activate")
        assert labels() <= {100, 101, 102}
        assert peer.transition("deactivate")
        assert peer.transition("cleanup")
        assert peer.set(bundle=str(tiny_bundle)) == ""
        assert peer.transition("configure")
        assert peer.transition("activate")
        assert max(labels()) < 16
    peer.wait(lambda: peer.values.get("pending") == "0" and peer.adds_up and peer.level == b"\x00")
    peer.settle()
    assert peer.adds_up
    assert peer.values["state"] == "active"


def test_started_by_hand_and_shut_down(
    start: Callable, peer_of: Callable, tiny_bundle: Path, other_bundle: Path, scan: Scan
) -> None:
    node = start("manual", f"bundle:={other_bundle}", "autostart:=false")
    peer = peer_of("manual")
    assert peer.state() == "unconfigured"
    assert (peer.level, peer.message, peer.values.get("backend", "")) == (b"\x00", "unconfigured", "")
    assert peer.set(bundle=str(tiny_bundle)) == ""
    assert peer.transition("configure")
    # Scans that come now are nobody's: not subscribed to, so not received.
    peer.send(*scan)
    peer.settle()
    assert (peer.values["state"], peer.values["received"], peer.values["bundle"]) == ("inactive", "0", str(tiny_bundle))
    assert peer.transition("activate")
    peer.listen("segmentation")
    peer.ask(*scan)
    assert peer.transition("shutdown")
    assert peer.state() == "finalized"
    node.process.terminate()
    began = time.monotonic()
    assert node.process.wait(10) == 0
    assert time.monotonic() - began < 2
