"""The benchmark's own machinery: what it makes of figures, how it runs programs, and what its command line takes."""

from __future__ import annotations

import html
import importlib.util
import itertools
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from types import ModuleType

import pytest
import trio.testing
from hypothesis import given, strategies as st
from manual_clock import ManualClock
from network_helpers import FakeNetwork, open_test_node

from trio_mp.cli import main
from trio_mp.cli.bench import main as bench
from trio_mp.cli.bench.analysis import CONFIDENCE, Comparison, Estimate, compare, coverage, estimate, ratio
from trio_mp.cli.bench.catalogue import GROUPS
from trio_mp.cli.bench.main import BenchOptions, Rivals, run_bench
from trio_mp.cli.bench.results import BenchResults, Measurement, make_results, read_results, write_results
from trio_mp.cli.bench.runner import OURS, Cell, FailedRun, run_cell
from trio_mp.cli.bench.schedule import run_all
from trio_mp.cli.bench.screen import draw_changes, number, ratios
from trio_mp.cli.bench.task import Figure, tells_of_fault
from trio_mp.cli.text import Screen
from trio_mp.lowlevel import Environment, open_node_in

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-P", "-m", "trio_mp.cli", "bench")

# What figures say ----------------------------------------------------------------------------------------------------

figures = st.lists(st.floats(0.001, 1e9), min_size=1, max_size=40)


def test_the_interval_of_nine() -> None:
    found = estimate([5, 1, 9, 2, 8, 3, 7, 4, 6])
    assert found == Estimate(5, 2, 8, coverage(9, 2), 9)
    # From the tables of the binomial distribution.
    assert round(found.confidence, 4) == 0.9609


def test_too_few_figures_give_the_range_and_say_so() -> None:
    assert estimate([3, 1, 2]) == Estimate(2, 1, 3, 0.75, 3)
    assert estimate([7]) == Estimate(7, 7, 7, 0, 1)
    assert not estimate([1, 2, 3, 4, 5]).sound
    assert estimate([1, 2, 3, 4, 5, 6]).sound


def test_a_median_needs_figures() -> None:
    with pytest.raises(ValueError, match="expected figures"):
        estimate([])


@given(figures)
def test_an_estimate_is_what_it_says(values: list[float]) -> None:
    found = estimate(values)
    assert found.median == statistics.median(values)
    assert min(values) <= found.low <= found.median <= found.high <= max(values)
    assert found.sound == (len(values) >= 6)
    assert found == estimate(sorted(values, reverse=True))


@given(st.integers(6, 200))
def test_no_narrower_interval_would_do(count: int) -> None:
    found = estimate(list(range(count)))
    rank = int(found.low) + 1
    assert found.high == count - rank
    assert coverage(count, rank) >= CONFIDENCE > coverage(count, rank + 1)


def test_the_interval_encloses_the_median_as_often_as_it_says() -> None:
    """Of draws from a skewed distribution, whose median is the natural logarithm of 2."""
    generator = random.Random(5)
    hits = 0
    for _ in range(4000):
        found = estimate([generator.expovariate(1) for _ in range(9)])
        hits += found.low <= 0.6931 <= found.high
    assert abs(hits / 4000 - coverage(9, 2)) < 0.01


def test_a_ratio_is_that_of_pairs() -> None:
    # A machine that gets slower and slower: the ratio of each pair is 2.
    found = ratio({0: 100, 1: 50, 2: 10}, {0: 50, 1: 25, 2: 5, 3: 1000})
    assert found is not None
    assert (found.median, found.low, found.high, found.count) == (2, 2, 2, 3)
    assert ratio({0: 1.0}, {1: 1.0}) is None
    assert ratio({0: 1.0}, {0: 0.0}) is None


@given(figures, st.floats(0.01, 100))
def test_the_ratio_to_a_multiple_of_oneself(values: list[float], factor: float) -> None:
    ours = dict(enumerate(values))
    found = ratio(ours, {key: value * factor for key, value in ours.items()})
    assert found is not None
    assert found.median == pytest.approx(1 / factor)
    assert found.high - found.low == pytest.approx(0, abs=1e-6 / factor)


@pytest.mark.parametrize(
    "now, more_is_better, comparison",
    [
        ((200, 190, 210), True, Comparison.BETTER),
        ((200, 190, 210), False, Comparison.WORSE),
        ((50, 45, 55), True, Comparison.WORSE),
        ((50, 45, 55), False, Comparison.BETTER),
        # The intervals overlap; or they do not, but two runs of the same program differ by so much.
        ((130, 104, 150), True, Comparison.SAME),
        ((108, 107, 109), True, Comparison.SAME),
    ],
)
def test_what_has_changed(now: tuple[float, float, float], more_is_better: bool, comparison: Comparison) -> None:
    old = Estimate(100, 95, 105, 0.96, 9)
    assert compare(old, Estimate(*now, 0.96, 9), more_is_better=more_is_better) is comparison
    assert compare(old, Estimate(*now, 0.75, 3), more_is_better=more_is_better) is Comparison.UNKNOWN


@given(figures, figures, st.booleans())
def test_comparing_the_other_way_round(old: list[float], new: list[float], more_is_better: bool) -> None:
    one, other = estimate(old), estimate(new)
    forth = compare(one, other, more_is_better=more_is_better)
    assert compare(one, one, more_is_better=more_is_better) in {Comparison.SAME, Comparison.UNKNOWN}
    back = compare(other, one, more_is_better=more_is_better)
    assert {forth, back} not in ({Comparison.BETTER}, {Comparison.WORSE})
    assert (forth is Comparison.UNKNOWN) == (back is Comparison.UNKNOWN)


def test_numbers() -> None:
    numbers = (1_234_567, 123_456, 12_345, 1_234, 123.4, 12.34, 0.1234)
    assert [number(one) for one in numbers] == ["1.23 M", "123 k", "12.3 k", "1,234", "123", "12.3", "0.123"]


# The order of runs ---------------------------------------------------------------------------------------------------


LOGS = "import logging; from trio_mp.cli.bench import task; task.log_faults(); logging.getLogger('trio_mp')"


def cell(group: str, name: str, repeats: int = 1, program: str = OURS, code: str = "", *, target: bool = False) -> Cell:
    return Cell(group, name, program, (sys.executable, "-c", code), repeats, target=target)


def test_what_is_compared_is_run_in_turn() -> None:
    cells = [cell("a", "a1", 3), cell("a", "a", 2, "peer"), cell("b", "b1", 2)]
    order: list[str] = []

    def run(one: Cell) -> Figure:
        order.append(one.name)
        return Figure(len(order), "s")

    done: list[int] = []
    outcome = run_all(cells, 1000, run, after=done.append)
    assert order == ["a1", "a", "b1", "a", "a1", "b1", "a1"]
    assert [run.number for run in outcome.runs] == [0, 0, 0, 1, 1, 1, 2]
    assert sum(done) == 7
    assert (outcome.cut, outcome.failures) == (0, {})


def test_it_ends_in_time() -> None:
    now = 0.0

    def run(one: Cell) -> Figure:
        nonlocal now
        now += 10
        return Figure(1, "s")

    cells = [cell("a", "a1", 9), cell("a", "a", 9, "peer"), cell("b", "b1", 9)]
    done: list[int] = []
    outcome = run_all(cells, 75, run, after=done.append, clock=lambda: now)
    # Two whole rounds; of the third, what fits: nothing that is compared without its peer.
    assert [run.cell.name for run in outcome.runs] == ["a1", "a", "b1", "a", "a1", "b1", "b1"]
    assert now == 70
    assert outcome.cut == sum(done) - 7 == 20


def test_where_time_is_short_targets_have_all_their_rounds() -> None:
    """Each run takes ten seconds; everything is run once, targets come first, and their rounds are all there."""
    now = 0.0
    order: list[str] = []

    def run(one: Cell) -> Figure:
        nonlocal now
        now += 10
        order.append(one.name)
        return Figure(1, "s")

    cells = [
        cell("a", "a1", 4), cell("b", "b1", 4, target=True), cell("b", "b2", 4), cell("c", "c1", 6, target=True)
    ]  # fmt: skip
    outcome = run_all(cells, 145, run, clock=lambda: now)
    assert order[:4] == ["b1", "b2", "c1", "a1"]
    assert [order.count(name) for name in ("a1", "b1", "b2", "c1")] == [2, 4, 2, 6]
    assert (now, outcome.cut) == (140, 4)


def test_what_has_failed_needs_no_time() -> None:
    now = 0.0

    def run(one: Cell) -> Figure:
        nonlocal now
        now += 10
        if one.target:
            raise FailedRun("it said nothing")
        return Figure(1, "s")

    outcome = run_all([cell("a", "a1", 9, target=True), cell("b", "b1", 4)], 50, run, clock=lambda: now)
    assert (len(outcome.runs), outcome.cut) == (4, 0)


def test_what_fails_is_not_tried_again() -> None:
    tried: list[str] = []

    def run(one: Cell) -> Figure:
        tried.append(one.name)
        if one.name == "bad":
            raise FailedRun("it said nothing")
        return Figure(1, "s")

    outcome = run_all([cell("a", "bad", 5), cell("a", "good", 2)], 1000, run)
    assert tried == ["bad", "good", "good"]
    assert outcome.failures == {("bad", OURS): "it said nothing"}


# Running programs ----------------------------------------------------------------------------------------------------


def test_a_figure_is_read_between_other_lines() -> None:
    code = """print("ready"); print('{"value": 2.5, "unit": "s", "extra": {"p99": 3}}')"""
    assert run_cell(cell("g", "n", code=code)) == Figure(2.5, "s", {"p99": 3})


@pytest.mark.parametrize(
    "code, words",
    [
        ("", "it ended without a figure, and said nothing"),
        ("raise SystemExit('no such thing')", "no such thing"),
        ("assert False, 'a message is missing'", "AssertionError: a message is missing"),
        # What looks like a figure, and is none.
        ("print('{1: 2}')", "expected a figure as JSON, got {1: 2}"),
        ("""print('{"unit": "s"}')""", 'expected a figure as JSON, got {"unit": "s"}'),
        ("import os; os.write(1, b'{\\xff}\\n')", "expected a figure as JSON, got {\N{REPLACEMENT CHARACTER}}"),
        # Of what a node logs, the reason is kept, and that it computed, which is the work here, is not.
        (f"{LOGS}.warning('not spawned: %s', 'why')", "not spawned: why"),
        (f"{LOGS}.warning('nothing of this program ran for %.1f s', 9)", "it ended without a figure, and said nothing"),
    ],
)
def test_a_program_without_a_figure(code: str, words: str) -> None:
    with pytest.raises(FailedRun, match=f"^{re.escape(words)}$"):
        run_cell(cell("g", "n", code=code))


async def test_what_a_node_logs_of_a_program_that_computes_is_not_repeated(
    mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """In a task, and in a handler."""
    clock = ManualClock()

    def compute() -> None:
        clock.now += 60

    async with open_node_in(Environment(fairness_clock=clock)) as node:
        node.send(node.port(compute))
        await trio.testing.wait_all_tasks_blocked()
    async with open_test_node(FakeNetwork(), "a", heartbeat=2):
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(60)
        await trio.testing.wait_all_tasks_blocked()
    assert [tells_of_fault(record) for record in caplog.records] == [False, False]


def test_a_program_that_takes_too_long_is_killed() -> None:
    with pytest.raises(FailedRun, match=r"^it took over 0\.2 s$"):
        run_cell(cell("g", "n", code="import time; time.sleep(100)"), timeout=0.2)


def test_a_program_that_takes_too_long_after_saying_why() -> None:
    command = ("sh", "-c", "echo 'not spawned' >&2; exec sleep 100")
    with pytest.raises(FailedRun, match=r"^it took over 1 s: not spawned$"):
        run_cell(Cell("g", "n", OURS, command, 1), timeout=1)


LEAVES = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
print('{"value": %d, "unit": "pid"}' % child.pid, flush=True)
"""


def test_what_a_program_has_started_is_killed() -> None:
    started = time.monotonic()
    child = int(run_cell(cell("g", "n", code=LEAVES)).value)
    wait_until_gone(child)
    assert time.monotonic() - started < 60


def is_worker(process: str) -> bool:
    try:
        return b"bench.worker" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def wait_until_gone(process: int) -> None:
    """It is a zombie at most, until somebody waits for it."""
    while True:
        try:
            if Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z":
                return
            os.kill(process, 0)
        except (ProcessLookupError, FileNotFoundError):
            return
        time.sleep(0.01)


# Records -------------------------------------------------------------------------------------------------------------


def results_of(values: dict[str, list[float]], quick: bool = False) -> BenchResults:
    lines = [
        Measurement(name.split("/")[0], name, OURS, "s", {str(index): value for index, value in enumerate(found)})
        for name, found in values.items()
    ]
    return BenchResults("2026-01-01 00:00", {}, quick, lines)


def test_a_record_is_kept(tmp_path: Path) -> None:
    cells = [cell("local", "local/sync", 2), cell("local", "local", 2, "peer")]
    values = itertools.count(1)
    outcome = run_all(cells, 1000, lambda one: Figure(next(values), "messages/s", {"p99": 1}))
    results = make_results(outcome, quick=True, versions={"peer": "1.0"}, skipped={"other": "it is not here"})
    write_results(results, tmp_path / "record.json")
    kept = read_results(tmp_path / "record.json")
    assert kept == results
    assert kept.machine["peer"] == "1.0"
    line = kept.line("local", "peer")
    assert line is not None
    assert line.rounds == {0: 2, 1: 3}
    found = kept.ratio("local/sync", "local", "peer")
    assert found is not None
    # 1 / 2 in the first round, 4 / 3 in the second: the peer was first in it.
    assert (found.low, found.high) == (1 / 2, 4 / 3)


OTHER_VERSION = '{"date": "", "machine": {}, "quick": true, "lines": [], "version": 9}'
WITHOUT_FIGURES = json.dumps(
    {
        "date": "",
        "machine": {},
        "quick": True,
        "lines": [{"group": "local", "name": "local/sync", "program": OURS, "unit": "s", "values": {}}],
    }
)


@pytest.mark.parametrize(
    "text, got",
    [
        *((text, "got what does not decode") for text in ("", "{}", "[1]")),
        (OTHER_VERSION, "got format 9"),
        (WITHOUT_FIGURES, "got none for local/sync"),
    ],
)
def test_results_that_cannot_be_read(tmp_path: Path, text: str, got: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"expected .* in .*results.json, {got}"):
        read_results(path)


def test_changes_are_shown() -> None:
    old = results_of({"local/sync": [100.0] * 9, "local/async": [10.0] * 9, "kill/tcp": [1.0]})
    new = results_of({"local/sync": [50.0] * 9, "local/async": [10.5] * 9, "kill/tcp": [5.0]}, quick=True)
    text = draw_changes(old, new, GROUPS).draw()
    assert "into a sync handler" in text
    assert "worse" in text
    assert "into an async handler" not in text
    told = "1 within the noise; 1 with too few figures to tell; one of the two was a quick run"
    assert told in " ".join(text.split())


# The command line ----------------------------------------------------------------------------------------------------


def test_what_runs_beside_a_busy_task_is_compared_with_nobody_who_has_none() -> None:
    (group,) = [group for group in GROUPS if group.key == "round_trip/tcp"]
    figures = {workload.key: [6.0 if workload.task.busy else 2.0] * 9 for workload in group.workloads}
    results = results_of(figures)
    results.lines.append(Measurement(group.key, group.key, "Erlang", "s", {str(index): 1.0 for index in range(9)}))
    busy = [workload for workload in group.workloads if workload.task.busy]
    assert len(busy) == 2
    for workload in group.workloads:
        (shown,) = ratios(results, group, workload)
        expected = "3 × ours without the busy task" if workload in busy else "2 × Erlang"
        assert shown.startswith(f"{expected} (")
    # The same without a busy task was not measured.
    assert ratios(results_of({busy[0].key: [1.0] * 9}), group, busy[0]) == []


def test_every_key_is_there_once() -> None:
    keys = [workload.key for group in GROUPS for workload in group.workloads]
    assert len(set(keys)) == len(keys)
    assert all(key.startswith(group.key.split("/")[0]) for group in GROUPS for key in [w.key for w in group.workloads])


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--only", "dance"], "expected how a workload's key begins, got 'dance'; there are local, one_way/tcp/1/100"),
        (["--compare", "/no/such/file"], "No such file"),
        (["--compare", str(Path(__file__))], "expected the results of a benchmark in "),
        (["--quick", "now"], "unrecognized arguments"),
        (["--json"], "expected one argument"),
    ],
)
def test_bad_arguments(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", *arguments])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "record.json"
    assert main(["bench", "--quick", "--only", "idle/bare", "--json", str(path)]) == 0
    text = capsys.readouterr().out
    assert "bare, with its ID" in text
    line = read_results(path).line("idle/bare")
    assert line is not None
    assert len(line.values) == 3
    assert main(["bench", "--quick", "--only", "idle/bare", "--compare", str(path)]) == 0
    assert "0 within the noise; 1 with too few figures to tell" in " ".join(capsys.readouterr().out.split())


def test_a_failure_of_ours_is_one_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Cell) -> Figure:
        raise FailedRun("messages were out of order")

    monkeypatch.setattr(bench, "run_cell", fail)
    out = StringIO()
    status, results = run_bench(BenchOptions(quick=True, only=("local/sync",)), screen=Screen(out))
    assert status == 1
    assert results is not None
    assert results.failures == {"local/sync (trio_mp)": "messages were out of order"}
    assert "messages were out of order" in out.getvalue()


def test_peers_are_run_beside_us_and_those_that_are_not_are_named() -> None:
    code = """print('{"value": 1, "unit": "s"}')"""
    skipped = {"other": "not here"}
    rivals = Rivals(lambda group, _: [cell(group.key, group.key, 3, "twin", code)], {"twin": "1"}, skipped)
    out = StringIO()
    status, results = run_bench(BenchOptions(quick=True, scale=0.01, only=("local/sync",)), rivals, Screen(out))
    assert status == 0
    assert results is not None
    assert results.ratio("local/sync", "local", "twin") is not None
    text = out.getvalue()
    assert "Skipped: other: not here" in text
    assert "× twin" in text


def test_an_interrupted_run_leaves_nothing() -> None:
    with subprocess.Popen([*COMMAND, "--only", "create/1m"], stdout=subprocess.PIPE, text=True) as process:
        children: list[int] = []
        listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not listed.exists():
            process.kill()
            pytest.skip("this system does not say who is whose child")
        while not children:
            assert process.poll() is None
            # Importing Trio may start a program too.
            children = [int(word) for word in listed.read_text(encoding="ascii").split() if is_worker(word)]
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert "Interrupted; all processes have ended." in process.stdout.read()
        assert process.wait(20) == 130
    for child in children:
        wait_until_gone(child)


# The documentation ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def document() -> ModuleType:
    """`benchmarks.document`, from the checkout, of which nothing else can be imported here."""
    folder = ROOT / "benchmarks"
    spec = importlib.util.spec_from_file_location(
        "benchmarks", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules["benchmarks"] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    return importlib.import_module("benchmarks.document")


def test_the_page_says_what_was_measured(document: ModuleType) -> None:
    """Otherwise: python -m benchmarks.document."""
    results, profiles = read_results(document.FIGURES), document.read_profiles(document.PROFILES)
    filled = set()
    for path in document.PAGES:
        page = path.read_text(encoding="utf-8")
        filled |= {found[2] for found in document.MARKS.finditer(page)}
        assert document.fill(page, results, profiles) == page
    assert filled == {"machine", "targets", "figures", "quoted", "profiled", "receiver", "sender", "round_trip"}
    assert document.CHART.read_text(encoding="utf-8") == document.draw_chart(results)


def test_each_label_of_the_chart_has_room(document: ModuleType) -> None:
    """A label that is too long for a line has two, and the bars below it stand lower."""
    results = read_results(document.FIGURES)
    labels = re.findall(r'<text x="\d+" y="(\d+)" text-anchor="end">([^<]+)</text>', document.draw_chart(results))
    assert max(len(html.unescape(text)) for _, text in labels) <= sys.modules["benchmarks.chart"].LABEL
    heights = [int(height) for height, _ in labels]
    assert heights == sorted(set(heights))
    shown = " ".join(html.unescape(text) for _, text in labels)
    assert "trio_mp, from handler to handler, busy_poll of 50 µs and a core each" in shown


def test_the_readme_quotes_the_benchmarks(document: ModuleType) -> None:
    """Without the help of what writes it: each of its three figures is one of the results."""
    results = read_results(document.FIGURES)
    _, part = (ROOT / "README.md").read_text(encoding="utf-8").split("<!-- begin: quoted -->")
    rows = [line.split(" | ") for line in part.split("<!-- end")[0].splitlines() if line.startswith("| ")]
    quoted = {row[0].strip("| "): row[1] for row in rows if row[1] not in {"median", "---:"}}
    medians = {
        f"{group.title.rpartition(',')[0]}: {workload.title}": f"{number(line.estimate.median)} {line.unit}"
        for group in GROUPS
        for workload in group.workloads
        if (line := results.line(workload.key))
    }
    assert len(quoted) == 3
    assert quoted.items() <= medians.items()
    assert "/benchmarks.html\n" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("require_tcp")
def test_where_the_time_goes(document: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    profiles = importlib.import_module("benchmarks.profiles")
    monkeypatch.setattr(profiles, "QUICK", profiles.Effort(messages=200, runs=2, flood=1_000, trips=30, rounds=1))
    path, out = tmp_path / "profiles.json", StringIO()
    assert profiles.main(["--quick", "--json", str(path), "--markdown"], Screen(out)) == 0
    assert profiles.main(["--quick"], Screen(out)) == 0
    found = profiles.read_profiles(path)
    assert [one.key for one in found.profiles] == ["receiver", "sender", "round_trip"]
    for one in found.profiles:
        assert one.whole > 0
        assert sum(part.value for part in one.parts) == pytest.approx(one.whole)
        assert profiles.markdown(one) in out.getvalue()
    with pytest.raises(ValueError, match="holds no profiles"):
        profiles.read_profiles(document.FIGURES)


@pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets")
@pytest.mark.usefixtures("document")
def test_how_commands_start(tmp_path: Path) -> None:
    starting = importlib.import_module("benchmarks.starting")
    path, out = tmp_path / "starting.json", StringIO()
    # Coverage and other processes slow some of them down more than others: how fast they are is no matter here.
    assert starting.main(["--rounds", "0", "--json", str(path)], Screen(out)) in (0, 1)
    found = json.loads(path.read_text(encoding="utf-8"))
    assert set(starting.TARGETS) < set(found) == set(starting.commands("unix:s", path, "w1#x"))
    assert all(times["processor"] > 0 and times["wall"] > 0 for times in found.values())
    assert all(name in out.getvalue() for name in found)


@pytest.mark.parametrize(
    "ours, theirs, verdict",
    [
        ([21.0] * 9, [10.0] * 9, "holds"),
        ([19.0] * 9, [10.0] * 9, "does not hold"),
        ([21.0] * 3, [10.0] * 3, "holds so far: 3 of 9 figures"),
        ([21.0] * 9, [], "not measured"),
    ],
)
def test_a_target(document: ModuleType, ours: list[float], theirs: list[float], verdict: str) -> None:
    targets = importlib.import_module("benchmarks.targets")
    name = "one_way/tcp/1/100"
    results = results_of({f"{name}/plain": ours})
    if theirs:
        values = {str(index): value for index, value in enumerate(theirs)}
        results.lines.append(Measurement(name, name, "Erlang", "", values))
    assert targets.judge(targets.TARGETS[0], results).verdict == verdict


def test_every_target_names_something_that_is_measured(document: ModuleType) -> None:
    targets, rivals = importlib.import_module("benchmarks.targets"), importlib.import_module("benchmarks.rivals")
    keys = {workload.key for group in GROUPS for workload in group.workloads}
    done = {(key, peer.program) for peer in rivals.PEERS for key in peer.counts} | {(key, OURS) for key in keys}
    assert {key for key, program in done if program != OURS} <= {group.key for group in GROUPS if group.peer_task}
    for target in targets.TARGETS:
        assert target.workload in keys
        assert target.other is None or target.other in done


def test_what_a_target_needs_is_run_as_often_as_it_says(document: ModuleType) -> None:
    targets, rivals = importlib.import_module("benchmarks.targets"), importlib.import_module("benchmarks.rivals")
    workloads = {workload.key: workload for group in GROUPS for workload in group.workloads}
    compared = {target.other for target in targets.TARGETS if target.other}
    ours = {target.workload for target in targets.TARGETS} | {key for key, program in compared if program == OURS}
    assert {key for key, workload in workloads.items() if workload.target} == ours
    for target in targets.TARGETS:
        assert workloads[target.workload].repeats >= target.figures
    field = rivals.Field(list(rivals.PEERS))
    cells = {(one.name, one.program): one for group in GROUPS for one in field.cells_of(group, BenchOptions())}
    assert {key for key, one in cells.items() if one.target} == {key for key in compared if key[1] != OURS}
    for target in targets.TARGETS:
        if target.other in cells:
            assert cells[target.other].repeats >= target.figures
