"""Things that several threads want are done together, each gets its own, and an error is only its own."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from biohicl import Retriever
from biohicl.search.together import Together

# A mistake there is a wait without end.
pytestmark = pytest.mark.timeout(60)


def test_each_gets_its_own_and_most_are_done_together():
    calls, running = [], threading.Lock()

    def squares(things):
        assert running.acquire(blocking=False), "two threads at a time"
        calls.append(len(things))
        time.sleep(0.01)
        running.release()
        return [thing * thing for thing in things]

    together = Together(squares, 7)
    with ThreadPoolExecutor(30) as pool:
        assert list(pool.map(together, range(300))) == [number**2 for number in range(300)]
    assert sum(calls) == 300 and max(calls) == 7 and len(calls) < 100


def test_an_error_is_of_the_thing_that_makes_it():
    def roots(things):
        time.sleep(0.005)
        if any(thing < 0 for thing in things):
            raise ValueError(min(things))
        return [thing**0.5 for thing in things]

    together = Together(roots, 8)

    def answer(thing):
        try:
            return together(thing)
        except ValueError as error:
            return error.args[0]

    things = [number if number % 5 else -number - 1 for number in range(100)]
    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(answer, things)) == [thing if thing < 0 else thing**0.5 for thing in things]


def test_too_few_results_are_an_error_and_not_a_wait():
    with pytest.raises(ValueError):
        Together(lambda things: [], 4)(1)


def test_who_is_interrupted_while_waiting_keeps_nobody_back():
    """The main thread alone is interrupted, by Ctrl-C or in a notebook; others go on asking."""
    entered, let = threading.Event(), threading.Event()

    def slow(things):
        entered.set()
        assert let.wait(20)
        return things

    def interrupt(number, frame):
        raise KeyboardInterrupt

    together = Together(slow, 1)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(together, 1)
            assert entered.wait(20)
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(KeyboardInterrupt):
                together(2)
            second = pool.submit(together, 3)
            let.set()
            assert (first.result(20), second.result(20)) == (1, 3)
        assert together(4) == 4
    finally:
        signal.signal(signal.SIGALRM, before)


def test_queries_encoded_together_have_the_vectors_that_they_have_alone(searched):
    queries = [f"treatment of {'very ' * (number % 9)}heart disease {number}" for number in range(60)]
    alone = Retriever(searched)
    expected = [alone.encode(query) for query in queries]
    together = Retriever(searched)
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(together.encode, queries))
    assert np.abs(np.array(found) - np.array(expected)).max() < 1e-5
