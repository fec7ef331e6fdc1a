"""A connection's inbox: in order, one at a time, bounded."""

from __future__ import annotations

import asyncio
import contextlib

from meeshy_sfu.edge.receive_queue import Message, ReceiveQueue


class Handler:
    """Deals with messages one step at a time."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.done: list[str] = []
        self.step = asyncio.Semaphore(0)

    async def __call__(self, message: Message) -> None:
        self.begun.append(message.text)
        await self.step.acquire()
        self.done.append(message.text)

    async def last(self) -> None:
        self.done.append("last")


def inbox_of(handler: Handler) -> ReceiveQueue:
    return ReceiveQueue(handler, messages_max=3, chars_max=10)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_messages_are_dealt_with_one_after_the_other() -> None:
    handler = Handler()
    inbox = inbox_of(handler)
    for text in "abc":
        inbox.put(Message(text))
    await settle()
    assert (handler.begun, handler.done) == (["a"], [])
    handler.step.release()
    await settle()
    assert (handler.begun, handler.done) == (["a", "b"], ["a"])
    inbox.finish(handler.last)
    inbox.put(Message("late"))
    handler.step.release()
    handler.step.release()
    await settle()
    assert handler.done == ["a", "b", "c", "last"]


async def test_it_holds_no_more_than_it_has_room_for() -> None:
    handler = Handler()
    inbox = inbox_of(handler)
    assert inbox.fits("x" * 50), "one alone always fits, or it could never be dealt with"
    for text in ("a", "b", "c", "d"):
        assert inbox.fits(text)
        inbox.put(Message(text))
        await settle()
    assert not inbox.fits("e")
    handler.step.release()
    await settle()
    assert inbox.fits("e")
    inbox.put(Message("12345678"))
    assert not inbox.fits("")
    handler.step.release()
    await settle()
    assert inbox.fits("x")
    assert not inbox.fits("xx"), "of ten characters nine wait"


async def test_who_waits_for_room_gets_it_or_the_end() -> None:
    handler = Handler()
    inbox = inbox_of(handler)
    for text in "abcd":
        inbox.put(Message(text))
        await settle()
    waiting = asyncio.create_task(inbox.room_for("e"))
    await settle()
    assert not waiting.done()
    handler.step.release()
    await settle()
    assert waiting.done()
    inbox.put(Message("e"))
    other = asyncio.create_task(inbox.room_for("f"))
    await settle()
    assert not other.done()
    inbox.drop()
    await settle()
    assert other.done()
    assert len(inbox) == 0


async def test_a_dropped_inbox_still_does_its_last_thing() -> None:
    handler = Handler()
    inbox = inbox_of(handler)
    inbox.put(Message("a"))
    inbox.put(Message("b"))
    await settle()
    inbox.drop()
    inbox.finish(handler.last)
    inbox.drop()
    handler.step.release()
    await settle()
    assert handler.done == ["a", "last"]
    empty = inbox_of(handler)
    empty.finish(handler.last)
    await settle()
    assert handler.done == ["a", "last", "last"]


async def test_a_cancelled_inbox_does_nothing_more() -> None:
    handler = Handler()
    inbox = inbox_of(handler)
    inbox.put(Message("a"))
    inbox.put(Message("b"))
    inbox.finish(handler.last)
    await settle()
    task = inbox.cancel()
    assert task is not None
    await asyncio.gather(task, return_exceptions=True)
    assert (handler.begun, handler.done) == (["a"], [])


async def test_a_handler_that_keeps_its_cancellation_to_itself_is_the_last() -> None:
    begun: list[str] = []

    async def take(message: Message) -> None:
        begun.append(message.text)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    inbox = ReceiveQueue(take, messages_max=3, chars_max=10)
    inbox.put(Message("a"))
    inbox.put(Message("b"))
    await settle()
    assert inbox._task is not None
    inbox._task.cancel()
    await settle()
    assert begun == ["a"]
