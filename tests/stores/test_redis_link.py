"""Exchanges with a real Redis: what the gateway asks in one piece, and what a connection is worth after a mishap."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from urllib.parse import urlsplit

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from infra import redis_link
from infra.redis_link import RedisLink
from infra.redis_protocol import packed
from infra.settings import Settings
from tests.stores.test_log import slow_redis

GET_A, GET_B, PING = packed(b"GET", b"a"), packed(b"GET", b"b"), packed(b"PING")


def carried_out(url: str, work: Callable[[RedisLink], Awaitable[None]]) -> None:
    async def linked() -> None:
        link = RedisLink(url)
        try:
            await work(link)
        finally:
            await link.aclose()

    asyncio.run(linked())


def test_commands_of_one_piece_are_answered_in_their_order(empty_redis: Settings) -> None:
    large = bytes(range(256)) * 4096  # a megabyte, which comes in many pieces

    async def work(link: RedisLink) -> None:
        commands = packed(b"SET", b"a", large) + GET_A + packed(b"HMGET", b"none", b"x", b"y") + packed(b"STRLEN", b"a")
        assert await link.exchange(commands, 4) == [b"OK", large, [None, None], len(large)]

    carried_out(empty_redis.redis, work)


def test_an_error_among_the_replies_is_raised_and_the_connection_goes_on(empty_redis: Settings) -> None:
    async def work(link: RedisLink) -> None:
        with pytest.raises(ResponseError, match="wrong number of arguments"):
            await link.exchange(packed(b"SET", b"a") + PING, 2)
        (first,) = await link.exchange(packed(b"CLIENT", b"ID"), 1)
        assert await link.exchange(PING, 1) == [b"PONG"]
        assert await link.exchange(packed(b"CLIENT", b"ID"), 1) == [first]

    carried_out(empty_redis.redis, work)


def test_a_cancelled_exchange_never_leaves_its_replies_to_the_next(empty_redis: Settings) -> None:
    async def work(link: RedisLink) -> None:
        assert await link.exchange(packed(b"MSET", b"a", b"1", b"b", b"2"), 1) == [b"OK"]
        for moment in (0, 0.001, 0.005, 0.01, 0.02, 0.03, 0.045, 0.06, 0.065):
            cancelled = asyncio.create_task(link.exchange(GET_A, 1))
            await asyncio.sleep(moment)
            cancelled.cancel()
            found = await asyncio.gather(
                *(link.exchange(GET_B, 1) for _ in range(3)), cancelled, return_exceptions=True
            )
            assert found[:3] == [[b"2"]] * 3, f"cancelled after {moment} s"

    async def through_proxy() -> None:
        async with slow_redis(empty_redis.redis, 0.03) as url:
            link = RedisLink(url)
            await work(link)
            await link.aclose()

    asyncio.run(through_proxy())


def test_side_by_side_each_has_a_connection_and_who_finds_none_free_waits_for_one(
    empty_redis: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_link, "MOST_CONNECTIONS", 3)

    async def work(link: RedisLink) -> None:
        blocking = [link.exchange(packed(b"BLPOP", b"list", b"5"), 1) for _ in range(3)]
        waiting = asyncio.gather(*blocking)
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(link.exchange(PING, 1), 0.1)
        in_line = asyncio.create_task(link.exchange(PING, 1))
        async with other(empty_redis.redis) as another:
            await another.exchange(packed(b"RPUSH", b"list", b"1", b"2", b"3"), 1)
        assert sorted(value for ((_, value),) in await waiting) == [b"1", b"2", b"3"]
        assert await in_line == [b"PONG"]

    carried_out(empty_redis.redis, work)


def test_who_waits_is_served_when_those_before_it_are_cut_off(
    empty_redis: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_link, "MOST_CONNECTIONS", 2)

    async def work(link: RedisLink) -> None:
        hanging = [asyncio.create_task(link.exchange(packed(b"BLPOP", b"list", b"5"), 1)) for _ in range(2)]
        await asyncio.sleep(0)
        in_line = asyncio.create_task(link.exchange(PING, 1))
        await asyncio.sleep(0.05)
        assert not in_line.done()
        for each in hanging:
            each.cancel()
        assert await asyncio.wait_for(in_line, 2) == [b"PONG"]

    carried_out(empty_redis.redis, work)


@asynccontextmanager
async def other(url: str) -> AsyncIterator[RedisLink]:
    link = RedisLink(url)
    yield link
    await link.aclose()


@pytest.mark.parametrize(
    "said", [b"+OK\r\n+OK\r\n", b"this is no Redis\r\n", b""], ids=["too much", "no RESP", "the end"]
)
def test_a_server_that_keeps_to_no_protocol_is_an_error_and_is_not_asked_again(said: bytes) -> None:
    connections = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        greeted = False
        with closing(writer), suppress(ConnectionError):
            while asked := await reader.read(65536):
                if greeted and not said:
                    return
                writer.write(said if greeted else b"+OK\r\n" * asked.count(b"*"))
                greeted = True

    async def work() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            link = RedisLink(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            for _ in range(2):
                with pytest.raises((RedisConnectionError, OSError)):
                    await link.exchange(PING, 1)
            await link.aclose()
            assert connections == 2

    asyncio.run(work())


def test_a_wrong_password_is_said_by_redis(empty_redis: Settings) -> None:
    parts = urlsplit(empty_redis.redis)
    wrong = parts._replace(netloc=f":wrong@{parts.netloc.rpartition('@')[2]}").geturl()

    async def work(link: RedisLink) -> None:
        with pytest.raises(RedisConnectionError, match=r"(?i)password|auth"):
            await link.exchange(PING, 1)

    carried_out(wrong, work)
