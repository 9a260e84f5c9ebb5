"""However an input comes in, live or from a tape, read ahead or not, the lines know nothing of it."""

from __future__ import annotations

from collections.abc import Callable

from book.events import ProductStatus
from feeds.market import Market
from sentinel.pipeline import BookAnswer, Output, Pipeline, RepairAnswer, inputs
from sentinel.pipeline.inputs import Input
from sentinel.pipeline.interpreter import Interpreter
from tests.sentinel.pipeline.venue import MS, START, SYMBOL, Connection, S, match, pipeline, plan

# A large frame is read in one turn of the event loop and received in another


def outcome(*, is_read_ahead: bool) -> tuple[Output, list[object]]:
    pipe, wire = pipeline(), Connection()
    early = wire.snapshot(99.0, 101.0)
    assert pipe.read(0, early) is None  # nobody has opened the socket
    pipe.opened(0, START)
    frames = [early, wire.update(("bid", 100.0, 2.0)), b'{"channel":"l2_data",', wire.trades(1, 2)]
    wire.beat()  # lost
    frames += [wire.beat(), wire.snapshot(98.0, 101.0), wire.beat()]
    for number, frame in enumerate(frames):
        now_ns = START + number * 90 * MS
        meaning = pipe.read(0, frame) if is_read_ahead else None
        assert (meaning is None) == (not is_read_ahead or frame.endswith(b","))
        pipe.tick(now_ns)
        pipe.receive(0, frame, now_ns, meaning)
    pipe.stop(START + 900 * MS)
    return pipe.take(), list(pipe.commands)


def test_reading_ahead_changes_nothing() -> None:
    ahead, at_once = outcome(is_read_ahead=True), outcome(is_read_ahead=False)
    assert ahead == at_once
    assert len(ahead[0].book) > 3
    assert [note.event for note in ahead[0].notes].count("undecodable") == 1


def test_an_input_is_as_good_as_the_call_it_stands_for() -> None:
    wire = Connection()
    answer = RepairAnswer(SYMBOL, 2, 3, (), is_complete=True)
    book = BookAnswer(SYMBOL, START, {99.0: 1.0}, {101.0: 1.0})
    snapshot, beat, late = wire.snapshot(99.0, 101.0), wire.beat(), wire.beat()
    plans = plan(0, "book"), plan(1, "trades", venue="coinbase_exchange")
    fewer = plans[0], plan(1, "trades", venue="coinbase_exchange", products=())
    both: list[tuple[Input, Callable[[Pipeline, int], object]]] = [
        (inputs.Start(), lambda pipe, now_ns: pipe.start(now_ns)),
        (inputs.Opened(0), lambda pipe, now_ns: pipe.opened(0, now_ns)),
        (inputs.Opened(1), lambda pipe, now_ns: pipe.opened(1, now_ns)),
        (inputs.Frame(0, snapshot), lambda pipe, now_ns: pipe.receive(0, snapshot, now_ns)),
        (inputs.Frame(1, match(1)), lambda pipe, now_ns: pipe.receive(1, match(1), now_ns)),
        (inputs.Frame(1, match(4)), lambda pipe, now_ns: pipe.receive(1, match(4), now_ns)),
        (inputs.Tick(), lambda pipe, now_ns: pipe.tick(now_ns)),
        (answer, lambda pipe, now_ns: pipe.repaired(answer, now_ns)),
        (book, lambda pipe, now_ns: pipe.compared(book, now_ns)),
        (inputs.Frame(0, beat), lambda pipe, now_ns: pipe.receive(0, beat, now_ns)),
        (inputs.Replan(fewer), lambda pipe, now_ns: pipe.replan(fewer, now_ns)),
        (inputs.Replan(plans), lambda pipe, now_ns: pipe.replan(plans, now_ns)),
        (inputs.Step(S), lambda pipe, now_ns: pipe.step(S, now_ns)),
        (inputs.Suspend(), lambda pipe, now_ns: pipe.suspend(now_ns)),
        (inputs.Resume(), lambda pipe, now_ns: pipe.resume(now_ns)),
        (inputs.Frame(0, late), lambda pipe, now_ns: pipe.receive(0, late, now_ns)),
        (inputs.Closed(0, "disconnected"), lambda pipe, now_ns: pipe.closed(0, "disconnected", now_ns)),
        (inputs.Stop(), lambda pipe, now_ns: pipe.stop(now_ns)),
    ]
    fed, called = pipeline(*plans), pipeline(*plans)
    now_ns = START
    for given, call in both:
        now_ns += 150 * MS + (2 * S if isinstance(given, inputs.Tick | inputs.Step) else 0)
        fed.feed(given, now_ns)
        call(called, now_ns)
        assert (fed.take(), list(fed.commands)) == (called.take(), list(called.commands)), given
    assert fed.checkpoint() == called.checkpoint()


def test_the_state_of_a_market_is_told_when_it_is_news() -> None:
    """Whoever tells it, and however often."""
    pipe = pipeline(plan(0), plan(1, copy=1))
    interpreter, (first, second) = Interpreter(pipe._proofs, pipe._output, pipe.commands), pipe.lanes
    product = pipe.products[Market("coinbase", SYMBOL)]
    for lane, state, now in [
        (first, "trading", "trading"),
        (first, "halted", "halted"),
        (second, "halted", "halted"),
        (first, "trading", "halted"),
        (second, "trading", "trading"),
    ]:
        interpreter.interpret(lane, ProductStatus(SYMBOL, state), START)  # type: ignore[arg-type]
        assert product.state_at_venue == now
    interpreter.interpret(first, ProductStatus("OTHER-USD", "halted"), START)
    told = [(note.event, note.facts["state"]) for note in pipe.take().notes]
    assert told == [("product_status", "halted"), ("product_status", "trading")]
    first.states[SYMBOL] = "halted"
    pipe.opened(0, START)  # a new connection knows nothing of what the old one was told
    assert product.state_at_venue == "trading"
