"""The proxy's own line: as many in the engine as it has places, the lowest key first, moved by late scores."""

import asyncio
import random

from rankd.proxy.holding_queue import HoldingQueue


async def settled():
    """Let those go on that can."""
    for _ in range(5):
        await asyncio.sleep(0)


def entering(queue, place, key, served):
    """A request that waits for its place and then stays in the engine."""

    async def go():
        await queue.enter(place, key)
        served.append(place.number)

    return asyncio.create_task(go())


def test_the_lowest_key_goes_first_and_a_late_score_moves_it():
    async def story():
        queue, served = HoldingQueue(1), []
        places = [queue.place() for _ in range(4)]
        tasks = [entering(queue, place, key, served) for place, key in zip(places, (5, 40, 30, 30), strict=True)]
        await settled()
        assert served == [0]
        assert queue.waiting == 3
        queue.move(places[1], 10)
        queue.move(places[0], 99)  # it is in already
        for place in (places[0], places[1], places[2]):
            queue.leave(place)
            queue.leave(place)
            await settled()
        assert served == [0, 1, 2, 3], "of equal keys the older goes first"
        await asyncio.gather(*tasks)

    asyncio.run(story())


def test_without_places_nobody_waits():
    async def story():
        queue = HoldingQueue(0)
        for key in range(100):
            await queue.enter(queue.place(), key)
        assert queue.waiting == 0

    asyncio.run(story())


def test_who_leaves_the_line_takes_no_place():
    """Clients hang up while they wait, or at the moment that they are let in."""

    async def story():
        queue, served = HoldingQueue(1), []
        places = [queue.place() for _ in range(3)]
        tasks = [entering(queue, place, 0, served) for place in places]
        await settled()
        tasks[1].cancel()
        await settled()
        queue.leave(places[1])
        assert queue.waiting == 1
        queue.leave(places[0])
        tasks[2].cancel()  # let in, and gone before it could go on
        await settled()
        queue.leave(places[2])
        await asyncio.wait_for(queue.enter(queue.place(), 0), 60)

    asyncio.run(story())


def test_no_place_is_lost_and_never_too_many_are_in():
    """Against a reference: drawn arrivals, moves and ends."""

    async def story():
        rng, queue, inside, served = random.Random(3), HoldingQueue(3), set(), 0
        waiting = {}

        async def go(place, key):
            await queue.enter(place, key)
            waiting.pop(place, None)
            inside.add(place)

        tasks = []
        for _ in range(2000):
            roll = rng.random()
            if roll < 0.5:
                place = queue.place()
                waiting[place] = key = rng.randrange(20)
                tasks.append(asyncio.create_task(go(place, key)))
            elif roll < 0.7 and waiting:
                place = rng.choice(list(waiting))
                waiting[place] = rng.randrange(20)
                queue.move(place, waiting[place])
            elif inside:
                place = rng.choice(list(inside))
                inside.discard(place)
                queue.leave(place)
                served += 1
            await settled()
            assert len(inside) == min(3, len(inside) + len(waiting))
            assert queue.waiting == len(waiting)
        assert served > 500
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(story())
