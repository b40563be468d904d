"""The 32 categories of nuScenes-lidarseg with their official indices, and the attributes and visibility levels.

Source: nuScenes devkit, docs/instructions_lidarseg.md and docs/instructions_nuscenes.md.
"""

NAMES = (
    "noise",
    "animal",
    "human.pedestrian.adult",
    "human.pedestrian.child",
    "human.pedestrian.construction_worker",
    "human.pedestrian.personal_mobility",
    "human.pedestrian.police_officer",
    "human.pedestrian.stroller",
    "human.pedestrian.wheelchair",
    "movable_object.barrier",
    "movable_object.debris",
    "movable_object.pushable_pullable",
    "movable_object.trafficcone",
    "static_object.bicycle_rack",
    "vehicle.bicycle",
    "vehicle.bus.bendy",
    "vehicle.bus.rigid",
    "vehicle.car",
    "vehicle.construction",
    "vehicle.emergency.ambulance",
    "vehicle.emergency.police",
    "vehicle.motorcycle",
    "vehicle.trailer",
    "vehicle.truck",
    "flat.driveable_surface",
    "flat.other",
    "flat.sidewalk",
    "flat.terrain",
    "static.manmade",
    "static.other",
    "static.vegetation",
    "vehicle.ego",
)
INDEX = {name: index for index, name in enumerate(NAMES)}
SKY = 255  # in label images only: no surface was hit

ADULT = INDEX["human.pedestrian.adult"]
CHILD = INDEX["human.pedestrian.child"]
WORKER = INDEX["human.pedestrian.construction_worker"]
BARRIER = INDEX["movable_object.barrier"]
PUSHABLE = INDEX["movable_object.pushable_pullable"]
CONE = INDEX["movable_object.trafficcone"]
RACK = INDEX["static_object.bicycle_rack"]
BICYCLE = INDEX["vehicle.bicycle"]
BUS = INDEX["vehicle.bus.rigid"]
CAR = INDEX["vehicle.car"]
CONSTRUCTION = INDEX["vehicle.construction"]
MOTORCYCLE = INDEX["vehicle.motorcycle"]
TRAILER = INDEX["vehicle.trailer"]
TRUCK = INDEX["vehicle.truck"]
ROAD = INDEX["flat.driveable_surface"]
OTHER_FLAT = INDEX["flat.other"]
SIDEWALK = INDEX["flat.sidewalk"]
TERRAIN = INDEX["flat.terrain"]
MANMADE = INDEX["static.manmade"]
VEGETATION = INDEX["static.vegetation"]

ATTRIBUTES = (
    "vehicle.moving",
    "vehicle.stopped",
    "vehicle.parked",
    "cycle.with_rider",
    "cycle.without_rider",
    "pedestrian.sitting_lying_down",
    "pedestrian.standing",
    "pedestrian.moving",
)
VISIBILITY = ("v0-40", "v40-60", "v60-80", "v80-100")
