"""The state diagrams of the documentation show the transitions of the code, all of them and no others."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import transitions
from explorer.variants import WritesBeforeOk
from state_diagrams import MARGIN, Picture, Table, draw, lay_out, read_steps, read_transitions

from trio_mp._protocol.association import association, outbox
from trio_mp._protocol.association.association import Association, Stage
from trio_mp._protocol.association.outbox import Fence
from trio_mp._protocol.handshake import handshake
from trio_mp._protocol.handshake.handshake import Step

COMMAND = "PYTHONPATH=tests python -m transitions > docs/transitions.txt"
FILE = (Path(__file__).resolve().parents[3] / "docs" / "transitions.txt").read_text(encoding="utf-8")


def steps() -> Table:
    assert handshake.__doc__ is not None
    return read_steps(handshake.__doc__)


TABLES = {
    "fence": read_transitions(FILE, "fence"),
    "connection": read_transitions(FILE, "connection"),
    "handshake": steps(),
}
each_table = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())


def pairs(table: Table) -> set[tuple[str, str]]:
    return {(arrow.before, arrow.after) for arrow in table.arrows}


# The association -----------------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_the_table_of_the_association_is_what_the_code_does() -> None:
    found = transitions.table_of({side: transitions.walk(decides=side) for side in (True, False)})
    assert found.splitlines() == FILE.splitlines(), f"if this is as it should be: {COMMAND}"


def test_every_state_is_in_the_table() -> None:
    assert set(TABLES["fence"].states) == {state.value for state in Fence}
    ends = {transitions.NEW, transitions.GONE}
    assert set(TABLES["connection"].states) == {state.value for state in Stage} | ends


def stated_in(text: str | None) -> set[tuple[str, str]]:
    """The transitions that the top of a module states."""
    lines = [re.split(r" ── [^─]+ ──> ", line.strip()) for line in (text or "").splitlines() if "──>" in line]
    return {(before.lower(), after.lower()) for states in lines for before, after in itertools.pairwise(states)}


def test_the_tops_of_the_modules_have_the_same_transitions() -> None:
    assert stated_in(outbox.__doc__) == pairs(TABLES["fence"])
    # All that begin or end no connection.
    between = {pair for pair in pairs(TABLES["connection"]) if not set(pair) & {transitions.NEW, transitions.GONE}}
    assert stated_in(association.__doc__) == {pair for pair in between if "greeted" not in pair}


@pytest.mark.exhaustive
def test_a_transition_more_and_one_less_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    # Fewer connections than above: this one has many more states.
    monkeypatch.setitem(transitions.VALUES, "connection", transitions.CONNECTIONS[:2])
    found = transitions.walk(decides=True, kind=WritesBeforeOk)
    connection = {(one.before, one.after) for one in found if one.of == "connection"}
    assert connection - pairs(TABLES["connection"]) == {("greeted", "in use")}
    assert ("chosen", "in use") in pairs(TABLES["connection"]) - connection


def test_no_event_is_left_out_because_nothing_is_known_of_it() -> None:
    class More(Association):
        def something_new(self, colour: str) -> None:
            raise AssertionError

    with pytest.raises(LookupError, match=r"what to pass for colour of More\.something_new"):
        transitions.walk(decides=True, kind=More)


# The handshake -------------------------------------------------------------------------------------------------------


def test_the_table_of_the_handshake_is_what_the_code_does() -> None:
    assert pairs(steps()) == {(step.before, step.after) for step in transitions.walk_handshakes()}
    assert set(steps().states) == {step.name for step in Step}


def wrong_conditions(table: Table) -> list[str]:
    """Where the table says who has dialled, or who speaks, and it is not so."""
    found = transitions.walk_handshakes()
    wrong: list[str] = []
    for before, note in table.notes.items():
        speakers = {step.who for step in found if step.before == before}
        stated = set(re.findall(r"\b(us|them)\b", note))
        if stated and stated != speakers:
            wrong.append(f"{before}: {note!r}, but {sorted(speakers)}")
    by_dialling = {arrow.before for arrow in table.arrows if arrow.when == "dialled by us"}
    for arrow in table.arrows:
        diallers = {step.dialled_by_us for step in found if (step.before, step.after) == (arrow.before, arrow.after)}
        speakers = {step.who for step in found if (step.before, step.after) == (arrow.before, arrow.after)}
        if arrow.before in by_dialling and diallers != {arrow.when == "dialled by us"}:
            wrong.append(f"{arrow.before} -> {arrow.after}: {arrow.when!r}, but {diallers}")
        if arrow.when in ("us", "them") and speakers != {arrow.when}:
            wrong.append(f"{arrow.before} -> {arrow.after}: {arrow.when!r}, but {speakers}")
    return wrong


def test_the_conditions_of_the_handshake_are_true() -> None:
    assert not wrong_conditions(steps())


@pytest.mark.parametrize(
    "right, wrong",
    [
        ("dialled by us: PROOF, else DECISION", "dialled by us: DECISION, else PROOF"),
        ("them: nonce ", "us: nonce   "),
        ("them: LINKED; us: OK", "them: OK; us: LINKED"),
    ],
)
def test_a_wrong_condition_is_noticed(right: str, wrong: str) -> None:
    assert handshake.__doc__ is not None
    assert right in handshake.__doc__
    table = read_steps(handshake.__doc__.replace(right, wrong))
    assert pairs(table) == pairs(steps())
    assert wrong_conditions(table)


# The tables as they are read -----------------------------------------------------------------------------------------


def test_a_section_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="no section"):
        read_transitions(FILE, "nothing")


def test_a_line_that_is_no_transition() -> None:
    with pytest.raises(ValueError, match="not a transition: 'clear lost"):
        read_transitions(FILE.replace("clear -> lost", "clear lost"), "fence")


def test_a_module_without_a_table_of_steps() -> None:
    with pytest.raises(ValueError, match="no table"):
        read_steps("The handshake: some prose.")


def test_a_row_that_leads_nowhere() -> None:
    with pytest.raises(ValueError, match="no step in 'nothing', which follows OPEN"):
        read_steps("────\n    OPEN      them: all they like    nothing\n\n")


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
