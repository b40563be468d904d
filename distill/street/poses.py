"""Rigid poses as 4x4 matrices named target_from_source, and their quaternions (w, x, y, z)."""

import numpy as np


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The cross product of vectors (..., 3); several times faster than numpy's on a few of them."""
    turn, back = [1, 2, 0], [2, 0, 1]
    return np.asarray(a[..., turn] * b[..., back] - a[..., back] * b[..., turn])


def pose(x: float, y: float, z: float, yaw_rad: float = 0.0) -> np.ndarray:
    """world_from_local of something upright at (x, y, z), turned by yaw about z."""
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    return np.array([[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, z], [0, 0, 0, 1]], np.float64)


def tilted(x: float, y: float, z: float, yaw_rad: float, slope_x: float, slope_y: float) -> np.ndarray:
    """As `pose`, but standing square on ground whose height rises by slope_x along world x and slope_y along world y."""
    up = np.array([-slope_x, -slope_y, 1.0])
    up /= np.linalg.norm(up)
    left = cross(up, np.array([np.cos(yaw_rad), np.sin(yaw_rad), 0.0]))
    left /= np.linalg.norm(left)
    result = np.eye(4)
    result[:3, 0], result[:3, 1], result[:3, 2], result[:3, 3] = cross(left, up), left, up, (x, y, z)
    return result


def inverse(target_from_source: np.ndarray) -> np.ndarray:
    """source_from_target of a rigid pose."""
    rotation = target_from_source[:3, :3].T
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = rotation, -rotation @ target_from_source[:3, 3]
    return result


def transformed(target_from_source: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (N, 3) of the source frame in the target frame."""
    return np.asarray(points @ target_from_source[:3, :3].T + target_from_source[:3, 3])


def quaternion(rotation: np.ndarray) -> tuple[float, float, float, float]:
    """(w, x, y, z), w >= 0, of a rotation matrix (3, 3)."""
    m = rotation
    # Each row is four times one component times the quaternion (Shepperd); the longest row is the best conditioned.
    rows = np.array(
        [
            [1 + m[0, 0] + m[1, 1] + m[2, 2], m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]],
            [m[2, 1] - m[1, 2], 1 + m[0, 0] - m[1, 1] - m[2, 2], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0]],
            [m[0, 2] - m[2, 0], m[0, 1] + m[1, 0], 1 - m[0, 0] + m[1, 1] - m[2, 2], m[1, 2] + m[2, 1]],
            [m[1, 0] - m[0, 1], m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], 1 - m[0, 0] - m[1, 1] + m[2, 2]],
        ]
    )
    best = rows[np.argmax(np.abs(np.diag(rows)))]
    best = best / np.linalg.norm(best) * (1 if best[0] >= 0 else -1)
    return (float(best[0]), float(best[1]), float(best[2]), float(best[3]))


def rotation(quaternion_wxyz: tuple[float, float, float, float] | np.ndarray) -> np.ndarray:
    """(3, 3) of a quaternion (w, x, y, z)."""
    w, x, y, z = np.asarray(quaternion_wxyz, np.float64) / np.linalg.norm(quaternion_wxyz)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
