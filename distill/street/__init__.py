"""The street: a procedural city with exact labels, seen by a LiDAR and six cameras, written as nuScenes data and as a bag."""
