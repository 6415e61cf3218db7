"""The tables of transitions are what the code does, and the state diagrams of the documentation show all of it."""

from __future__ import annotations

import enum
import itertools
import os
import re
from typing import Any
from xml.etree import ElementTree

import pytest
import transitions
from explorer.variants import WritesBeforeOk
from state_diagrams import MARGIN, Picture, Table, draw, lay_out, table_of

from trio_mp._protocol.association import association, outbox
from trio_mp._protocol.association.association import STAGES, Association, Stage
from trio_mp._protocol.association.outbox import FENCE, Fence
from trio_mp._protocol.handshake.handshake import STEPS, Step, StepEvent
from trio_mp._protocol.supervision import CHILD, State
from trio_mp._protocol.transitions import Row, TransitionTable

KINDS: dict[str, tuple[TransitionTable[Any, Any, Any], type[enum.Enum]]] = {
    "fence": (FENCE, Fence),
    "connection": (STAGES, Stage),
    "handshake": (STEPS, Step),
    "child": (CHILD, State),
}
TABLES = {name: table_of(table.rows) for name, (table, _) in KINDS.items()}
each_table = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
each_kind = pytest.mark.parametrize("table, states", KINDS.values(), ids=KINDS.keys())


def pairs(table: Table) -> set[tuple[str, str]]:
    return {(arrow.before, arrow.after) for arrow in table.arrows}


# What the code does ---------------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_the_tables_of_the_association_are_what_the_code_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two connections take every row; with three, in the thorough run, one waits behind another that waits."""
    if os.environ.get("HYPOTHESIS_PROFILE") != "thorough":
        monkeypatch.setitem(transitions.VALUES, "connection", transitions.CONNECTIONS[:2])
    walks = [transitions.walk(decides=decides) for decides in (True, False)]
    assert [walk.past for walk in walks] == [set(), set()]
    assert walks[0].rows | walks[1].rows == {*FENCE.rows, *STAGES.rows}


@pytest.mark.exhaustive
def test_a_transition_past_the_table_and_a_row_that_is_not_taken_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    # Fewer connections than above: this one has many more states.
    monkeypatch.setitem(transitions.VALUES, "connection", transitions.CONNECTIONS[:1])
    walk = transitions.walk(decides=True, kind=WritesBeforeOk)
    assert (Stage.GREETED, Stage.IN_USE) in walk.past
    assert Stage.CHOSEN not in {row.before for row in walk.rows}


def test_no_event_is_left_out_because_nothing_is_known_of_it() -> None:
    class More(Association):
        def something_new(self, colour: str) -> None:
            raise AssertionError

    with pytest.raises(LookupError, match=r"what to pass for colour of More\.something_new"):
        transitions.walk(decides=True, kind=More)


def test_the_table_of_the_handshake_is_what_the_code_does() -> None:
    taken = transitions.walk_handshakes()
    assert {row for step in taken for row in step.rows} == set(STEPS.rows)
    for step in taken:
        # A line that ends the TLS handshake may take two.
        states = [step.before, *(row.after for row in step.rows)]
        assert [row.before for row in step.rows] == states[:-1]
        assert step.after is states[-1]


# What the tables say --------------------------------------------------------------------------------------------------


@each_kind
def test_every_state_is_in_its_table(table: TransitionTable[Any, Any, Any], states: type[enum.Enum]) -> None:
    assert {row.before for row in table.rows} | {row.after for row in table.rows} == set(states)


@each_kind
def test_no_two_rows_can_apply_at_once(table: TransitionTable[Any, Any, Any], states: type[enum.Enum]) -> None:
    for one, other in itertools.combinations(table.rows, 2):
        if (one.before, one.event) == (other.before, other.event):
            guards = {guard.__name__ for guard in (*one.guards, *other.guards)}
            opposites = [
                {"this_side_decides", "the_other_side_decides"},
                {"it_is_encrypted", "it_is_plain"},
                {"we_have_dialled", "they_have_dialled"},
            ]
            assert any(pair <= guards for pair in opposites), (one.before, one.event)


def test_who_speaks_in_a_step_is_who_the_table_says() -> None:
    for row in STEPS.rows:
        assert isinstance(row.event, StepEvent)
        ours = row.event.name.startswith("OUR_")
        assert ours == ("our " in row.event.value)
        assert (row.event.name.startswith("THEIR_")) == ("their " in row.event.value)


def test_a_row_applies_if_all_of_its_conditions_hold() -> None:
    def is_one(number: int) -> bool:
        return number == 1

    def is_odd(number: int) -> bool:
        return number % 2 == 1

    table: TransitionTable[Fence, outbox.FenceEvent, int] = TransitionTable(
        Row(Fence.CLEAR, outbox.FenceEvent.LOSS, Fence.LOST, is_odd, is_one)
    )
    followed = [table.after(Fence.CLEAR, outbox.FenceEvent.LOSS, number) for number in (1, 2, 3)]
    assert followed == [Fence.LOST, None, None]
    assert table.after(Fence.CLEAR, outbox.FenceEvent.FIRE, 1) is None
    assert table.after(Fence.LOST, outbox.FenceEvent.LOSS, 1) is None
    assert (table.expected(Fence.CLEAR), table.expected(Fence.LOST)) == ("a loss", "nothing")


def stated_in(text: str | None) -> set[tuple[str, str]]:
    """The transitions that the top of a module states."""
    lines = [re.split(r" ── [^─]+ ──> ", line.strip()) for line in (text or "").splitlines() if "──>" in line]
    return {(before.lower(), after.lower()) for states in lines for before, after in itertools.pairwise(states)}


def test_the_tops_of_the_modules_have_the_same_transitions() -> None:
    assert stated_in(outbox.__doc__) == pairs(TABLES["fence"])
    # All that begin or end no connection.
    ends = {Stage.NEW.value, Stage.GREETED.value, Stage.GONE.value}
    assert stated_in(association.__doc__) == {pair for pair in pairs(TABLES["connection"]) if not set(pair) & ends}


# The pictures --------------------------------------------------------------------------------------------------------


def overlaps(picture: Picture) -> list[str]:
    """What is drawn where something else is, or outside."""
    wrong: list[str] = []
    for above, below in itertools.pairwise(picture.boxes):
        if above.top + above.height >= below.top:
            wrong.append(f"{above.state} and {below.state}")
    for box in picture.boxes:
        for line in box.lines:
            if not (picture.left < line.x and line.x + line.width < picture.right):
                wrong.append(f"{line.text!r} is wider than its box")
            if not box.top < line.y < box.top + box.height:
                wrong.append(f"{line.text!r} is above or below its box")
        heights = [line.y for line in box.lines]
        if any(after - before < 12 for before, after in itertools.pairwise(heights)):
            wrong.append(f"the lines of {box.state}")
    for one, other in itertools.combinations(picture.buses, 2):
        apart = one.span[1] < other.span[0] or other.span[1] < one.span[0]
        if picture.lane_x(one) == picture.lane_x(other) and not apart:
            wrong.append(f"the lines to {one.state} and to {other.state}")
    lanes = [picture.lane_x(bus) for bus in picture.buses]
    if not all(MARGIN <= x < picture.left or picture.right < x <= picture.width - MARGIN for x in lanes):
        wrong.append("a line runs through a box, or outside")
    return wrong


@each_table
def test_nothing_overlaps(table: Table) -> None:
    assert not overlaps(lay_out(table))


@each_table
def test_every_transition_is_drawn(table: Table) -> None:
    picture = lay_out(table)
    assert [box.state for box in picture.boxes] == table.states
    tops = {box.state: box for box in picture.boxes}
    drawn = {(box.state, arrow.after) for box in picture.boxes for arrow, _ in box.exits}
    assert drawn == pairs(table)
    for box in picture.boxes:
        for arrow, height in box.exits:
            (bus,) = [bus for bus in picture.buses if bus.state == arrow.after and height in bus.exits]
            assert box.top < height < box.top + box.height
            assert bus.entry == tops[arrow.after].entry


@each_table
def test_the_picture_is_svg_that_runs_nothing_and_takes_its_colours_from_the_page(table: Table) -> None:
    svg = draw(table, "A <title> & more")
    root = ElementTree.fromstring(svg)
    kinds = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert kinds <= {"svg", "title", "desc", "rect", "text", "path", "circle"}
    colours = {element.get(name) for element in root.iter() for name in ("fill", "stroke")}
    assert colours <= {None, "none", "currentColor"}
    written = " ".join(element.text or "" for element in root.iter() if element.tag.endswith("text"))
    for arrow in table.arrows:
        assert f"→ {arrow.exit}" in written
    assert str(table) in "".join(root.itertext())


def test_an_overlap_is_noticed() -> None:
    picture = lay_out(TABLES["connection"])
    first, second, *_ = picture.boxes
    second.top = first.top + 5
    assert "new and greeted" in overlaps(picture)
