"""More predictions than can be made in time: who is let in is answered, the rest is told so at the door."""

import asyncio
import re

import pytest

from services.gateway.limits import Room, Turns
from tests.unit.gateway.conftest import Hanging, World, with_deadline

pytestmark = pytest.mark.anyio
PREDICTIONS = "/v1/systems/ad_click/predictions"


class Hand:
    """A clock's hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def crowded(room: Room, hand: Hand, rate: float, looks: int) -> None:
    """As many at work as there is room for, while `rate` a second are finished: each takes as long as its line is."""
    for _ in range(looks * room.LOOK):
        while not room.full:
            room.enter()
        hand.at += 1 / rate
        room.done(room.working / rate)


def test_a_room_comes_to_hold_what_is_finished_within_its_target() -> None:
    hand = Hand()
    room = Room(time=hand)
    crowded(room, hand, rate=400.0, looks=40)
    assert 35 <= room.limit <= 45  # 400 a second in 0.1 s


def test_a_short_pause_leaves_the_room_as_it_is() -> None:
    hand = Hand()
    room = Room(time=hand)
    for _ in range(2 * room.LOOK):
        room.enter()
    hand.at += 2 * room.target
    for _ in range(2 * room.LOOK):
        room.done(2 * room.target)
    assert room.limit == room.most


def test_the_room_is_all_there_again_when_the_crowd_has_gone() -> None:
    hand = Hand()
    room = Room(time=hand)
    crowded(room, hand, rate=400.0, looks=40)
    while room.working:
        room.leave()
    for _ in range(20 * room.LOOK):
        room.enter()
        hand.at += 0.005
        room.done(0.005)
    assert room.limit == room.most


def test_however_slow_a_request_is_a_few_are_at_work() -> None:
    hand = Hand()
    room = Room(time=hand)
    crowded(room, hand, rate=2.0, looks=10)
    assert room.limit == room.FEWEST


def test_what_fails_says_nothing_of_how_long_an_answer_takes() -> None:
    hand = Hand()
    room = Room(time=hand)
    crowded(room, hand, rate=400.0, looks=40)
    before, working = room.limit, room.working
    for _ in range(working):
        room.leave()
    assert (room.limit, room.working) == (before, 0)


async def test_one_request_begins_in_a_turn_of_the_loop_and_in_their_order() -> None:
    turns, begun = Turns(), []

    async def ask(number: int) -> None:
        await turns.turn()
        begun.append(number)

    tasks = [asyncio.create_task(ask(number)) for number in range(4)]
    seen = []
    while len(begun) < 4:
        await asyncio.sleep(0)
        seen.append(len(begun))
    await asyncio.gather(*tasks)
    assert begun == [0, 1, 2, 3]
    assert max(after - before for before, after in zip([0, *seen], seen, strict=False)) == 1


async def test_who_leaves_the_line_does_not_stop_it() -> None:
    turns = Turns()
    await turns.turn()
    gone, stays = asyncio.create_task(turns.turn()), asyncio.create_task(turns.turn())
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait_for(stays, 1.0)
    await asyncio.wait_for(turns.turn(), 1.0)


async def test_a_flood_is_refused_beyond_the_room_at_once_and_told_when_to_come_again(world: World) -> None:
    world = with_deadline(world, 0.5)
    world.reader = Hanging()
    async with world.client() as client:
        answers = await asyncio.gather(*(client.post(PREDICTIONS, json=world.request()) for _ in range(Room.most + 30)))
        later = await client.post(PREDICTIONS, json=world.request())
    refused = [answer for answer in answers if answer.status_code == 503]
    assert len(refused) == 30
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert re.search(rf"making {Room.most} predictions of ad_click", refused[0].json()["error"]["message"])
    assert later.status_code == 200


async def test_a_refused_body_holds_no_place(world: World) -> None:
    async with world.client() as client:
        for _ in range(2 * Room.most):
            assert (await client.post(PREDICTIONS, content=b"{")).status_code == 400
        assert (await client.post(PREDICTIONS, json=world.request())).status_code == 200
