"""The one-place mailbox: newest wins, nothing is lost without being reported, closing wakes the reader."""

import threading

from relidar.mailbox import Mailbox


def test_the_newest_wins_and_the_replaced_one_is_returned() -> None:
    mailbox: Mailbox[int] = Mailbox()
    assert [mailbox.put(item) for item in (1, 2, 3)] == [None, 1, 2]
    assert mailbox.take() == 3


def test_what_is_put_is_either_taken_or_returned() -> None:
    mailbox: Mailbox[int] = Mailbox()
    taken: list[int] = []

    def read() -> None:
        while (item := mailbox.take()) is not None:
            taken.append(item)

    reader = threading.Thread(target=read)
    reader.start()
    replaced = [item for item in (mailbox.put(number) for number in range(1, 20001)) if item is not None]
    while taken[-1:] != [20000]:
        pass
    assert mailbox.close() is None
    reader.join(5)
    assert not reader.is_alive()
    assert taken == sorted(taken)
    assert sorted(taken + replaced) == list(range(1, 20001))


def test_closing_gives_the_unread_back_and_takes_nothing_more_in() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put(0)
    assert mailbox.close() == 0
    assert mailbox.put(1) == 1
    assert mailbox.take() is None
