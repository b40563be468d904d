"""The books on a node's answers tell right from repeated, late, short and foreign ones."""

from relidar.answer_check import AnswerCheck


def test_right_answers_are_timed() -> None:
    check = AnswerCheck()
    for stamp in (1, 2, 3):
        check.sent(stamp, 10, "lidar", time_s=float(stamp))
    check.received(1, 10, "lidar", time_s=1.25)
    check.received(3, 10, "lidar", time_s=3.25)
    report = check.report()
    assert (report["sent"], report["answered"], check.wrong) == (3, 2, 0)
    assert report["latency_ms"]["p50"] == 250.0


def test_each_kind_of_wrong_answer_is_counted() -> None:
    check = AnswerCheck()
    for stamp in range(1, 6):
        check.sent(stamp, 10, "lidar", 0.0)
    check.received(2, 10, "lidar", 1.0)
    check.received(2, 10, "lidar", 1.0)  # again
    check.received(1, 10, "lidar", 1.0)  # after a newer one
    check.received(3, 9, "lidar", 1.0)  # a point short
    check.received(4, 10, "map", 1.0)  # another frame
    check.received(99, 10, "lidar", 1.0)  # never sent
    report = check.report()
    kinds = ("repeated", "out_of_order", "wrong_size", "wrong_header")
    assert [report[kind] for kind in kinds] == [1, 1, 1, 2]
    assert check.wrong == 5
