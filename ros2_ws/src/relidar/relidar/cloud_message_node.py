"""A cloud as the message that rclpy sends."""

from functools import lru_cache

from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from relidar.pointcloud2 import CloudField, CloudLayout


def cloud_message(header: Header, layout: CloudLayout, data: bytes, is_dense: bool) -> PointCloud2:
    """The cloud as a message. Its data are bytes: rclpy takes an ndarray a thousand times slower."""
    return PointCloud2(
        header=header,
        height=layout.height,
        width=layout.width,
        fields=_point_fields(layout.fields),
        is_bigendian=layout.is_bigendian,
        point_step=layout.point_step,
        row_step=layout.row_step,
        data=data,
        is_dense=is_dense,
    )


@lru_cache(maxsize=64)
def _point_fields(fields: tuple[CloudField, ...]) -> list[PointField]:
    """Made once for each layout: a driver sends the same one with every scan."""
    return [PointField(name=f.name, offset=f.offset, datatype=f.datatype, count=f.count) for f in fields]
