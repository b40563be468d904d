"""A city for one scene: its ground, everything that stands or moves on it, its light, and the drive of the ego car."""

from dataclasses import dataclass, field

import numpy as np

from distill.street import categories, poses
from distill.street.ground import CrossStreet, Section, Side, raised
from distill.street.light import Light
from distill.street.raycast import Caster, Still
from distill.street.road import Road
from distill.street.soup import Soup, join

PARKED = "vehicle.parked"


def heading(t_m: float) -> float:
    """Which way traffic drives at t: it keeps to the right."""
    return 0.0 if t_m < 0 else np.pi


@dataclass(frozen=True)
class Actor:
    """Something annotated with a box: `soup` in its own frame, placed in street coordinates, moving evenly."""

    soup: Soup
    category: int
    attribute: str  # of `categories.ATTRIBUTES`, or ""
    s_m: float
    t_m: float
    yaw_rad: float  # from the street's direction
    lift_m: float
    speed_s: float = 0.0  # metres a second along the street
    speed_t: float = 0.0
    tilt: bool = True

    @property
    def moves(self) -> bool:
        """Whether it changes place in the scene."""
        return self.speed_s != 0 or self.speed_t != 0

    def world_from_actor(self, road: Road, time_s: float) -> np.ndarray:
        """Its pose, 4x4."""
        s, t = self.s_m + self.speed_s * time_s, self.t_m + self.speed_t * time_s
        return road.pose(s, t, self.yaw_rad, self.lift_m, self.tilt)

    def box(self, road: Road, time_s: float) -> tuple[np.ndarray, np.ndarray]:
        """world_from_box (4x4, the box's middle) and the box's size (x, y, z) in metres, with 6 cm to spare."""
        low, high = self.soup.bounds
        world_from_box = self.world_from_actor(road, time_s)
        world_from_box = world_from_box @ poses.pose(*((low + high) / 2).astype(np.float64))
        return world_from_box, (high - low).astype(np.float64) + 0.12


@dataclass
class City:
    """Everything of one scene. Instances are indices into `actors`."""

    road: Road
    section: Section
    crossings: list[CrossStreet]
    sides: list[Side]
    s_range: tuple[float, float]
    light: Light
    facades: np.ndarray  # (K, 12)
    facade_rgb: np.ndarray  # (K, 3)
    marks: np.ndarray  # (M, 5)
    ego_t_m: float
    ego_speed: float
    static: list[Soup] = field(default_factory=list)
    actors: list[Actor] = field(default_factory=list)
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)  # s, t, half sizes
    _still: Still | None = None

    @property
    def look(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The tables that compiled shading needs: light, facades, marks."""
        return self.light.table(), self.facades, self.marks

    def lift(self, s: float, t: float) -> float:
        """Height of the finished surface over the bare ground."""
        return float(raised(self.section, self.crossings, s, t))

    def free(self, s: float, t: float, half_s: float, half_t: float) -> bool:
        """Whether nothing was placed yet in that rectangle."""
        return all(abs(s - a) >= half_s + c or abs(t - b) >= half_t + d for a, b, c, d in self.taken)

    def at_crossing(self, s: float, margin_m: float = 0.0) -> bool:
        """Whether s lies in a crossing, its sidewalks, or within the margin of them."""
        return any(abs(s - c.s_m) < c.half_m + c.walk_m + margin_m for c in self.crossings)

    def stand(
        self, soup: Soup, category: int, s: float, t: float, yaw: float = 0.0, scale: float = 1.0, tilt: bool = False
    ) -> None:
        """Places a thing that is not annotated."""
        world = self.road.pose(s, t, yaw, self.lift(s, t), tilt)
        world[:3, :3] *= scale
        self.static.append(soup.labelled(category).moved(world))

    def settle(
        self,
        soup: Soup,
        category: int,
        attribute: str,
        s: float,
        t: float,
        yaw: float = 0.0,
        speed: tuple[float, float] = (0.0, 0.0),
    ) -> bool:
        """Places an actor unless its place is taken."""
        low, high = soup.bounds
        cos, sin = abs(np.cos(yaw)), abs(np.sin(yaw))
        length, width = (high - low)[:2]
        half_s, half_t = (length * cos + width * sin) / 2 + 0.12, (length * sin + width * cos) / 2 + 0.08
        if not self.free(s, t, half_s, half_t):
            return False
        self.taken.append((s, t, half_s, half_t))
        tilt = category not in (categories.ADULT, categories.CHILD, categories.WORKER)
        self.annotate(Actor(soup, category, attribute, s, t, yaw, self.lift(s, t), *speed, tilt=tilt))
        return True

    def annotate(self, actor: Actor) -> None:
        """Places an annotated thing, still or moving."""
        self.actors.append(actor)

    def caster(self, time_s: float) -> Caster:
        """The street at that time, ready for rays. Triangles of actor i have instance i."""
        if self._still is None:
            placed = [self._placed(i, 0.0) for i, actor in enumerate(self.actors) if not actor.moves]
            self._still = Still(join(self.static + placed))
        moving = [self._placed(i, time_s) for i, actor in enumerate(self.actors) if actor.moves]
        return Caster(self._still, join(moving) if moving else None)

    def _placed(self, index: int, time_s: float) -> Soup:
        actor = self.actors[index]
        return actor.soup.labelled(actor.category, index).moved(actor.world_from_actor(self.road, time_s))

    def world_from_ego(self, time_s: float) -> np.ndarray:
        """Pose of the ego car (rear axle on the ground), 4x4."""
        s = self.ego_speed * time_s
        return self.road.pose(s, self.ego_t_m, lift_m=self.lift(s, self.ego_t_m), tilt=True)
