"""Faults in what seeds stand for: services of DNS, directories, and the addresses by which a node knows itself."""

from __future__ import annotations

from .fault import Change, Fault

_WRITTEN = "_protocol/membership/written.py"
_SERVICES = "_protocol/membership/services.py"
_FILES = "_transport/seed_files.py"
_DIRECTORY = "_services/seed_directory.py"
_SEEDS = "_services/seeds.py"
_REDIALLER = "_services/redialler.py"
_NAMES = "_services/seed_names.py"
_OWN = "_services/own_addresses.py"
_UNIT = "tests/protocol/membership/test_written.py"
_IN_FILES = "tests/transport/test_seed_files.py"
_RECORDS = "tests/transport/test_service_records.py"
_NETWORK = "tests/services/test_seed_directory.py"
_ADVERTISED = "tests/services/test_advertised.py"
_NAMED = "tests/services/test_service_seeds.py"
_TOO_MANY = "if is_one_too_many(WrittenRun(self._run, self._written.written_at), others):"

SEEDS: tuple[Fault, ...] = (
    # Directories.
    Fault(
        "everybody_writes_itself",
        "each of many nodes that start at once writes itself, and becomes global",
        (Change(_WRITTEN, "sum(other.may_live for other in others) < (1 if drains else ENOUGH)", "True"),),
        (f"{_UNIT}::test_how_many_are_enough", f"{_NETWORK}::test_some_that_start_at_once"),
    ),
    Fault(
        "writes_without_waiting",
        "nodes that start at once all write themselves, because none waits for a random time and looks again",
        (
            Change(_DIRECTORY, "if is_needed(await self._read(), drains=self._owner.drains()):", "if True:"),
            Change(_DIRECTORY, _TOO_MANY, "if False:"),
        ),
        (f"{_NETWORK}::test_some_that_start_at_once",),
    ),
    Fault(
        "nobody_withdraws",
        "those that write themselves at the same moment all stay",
        (Change(_DIRECTORY, _TOO_MANY, "if False:"),),
        (f"{_NETWORK}::test_those_that_look_and_write_in_the_same_moment",),
    ),
    Fault(
        "dials_who_may_withdraw",
        "who is written for a moment is dialled, and so becomes global",
        (Change(_DIRECTORY, "if not is_one_too_many(one, others))", "if True)"),),
        (f"{_NETWORK}::test_those_that_look_and_write_in_the_same_moment",),
    ),
    Fault(
        "written_and_not_global",
        "a node that is written, and that nobody dials, waits for ever",
        (Change(_DIRECTORY, "        self._owner.became_seed()\n", "        pass\n"),),
        (f"{_NETWORK}::test_one_that_finds_nobody_becomes_global",),
    ),
    Fault(
        "dialled_while_it_drains",
        "a node that drains stays written until it closes, and new nodes dial it",
        (Change(_DIRECTORY, "            if drains and self._is_seed:\n", "            if False:\n"),),
        (f"{_NETWORK}::test_a_node_that_drains_is_written_no_more_and_another_takes_its_place",),
    ),
    Fault(
        "parts_when_it_reads_again",
        "a node that drains stays written until it reads the directory again",
        (Change(_SEEDS, " and drains == self._draining.is_set():", ":"),),
        (f"{_NETWORK}::test_a_node_that_drains_is_written_no_more_and_another_takes_its_place",),
    ),
    Fault(
        "the_only_way_is_closed",
        "the only node that is written removes its file when it drains, so whoever comes begins a second network",
        (Change(_DIRECTORY, "        if not may_part(others):\n", "        if False:\n"),),
        (f"{_NETWORK}::test_the_only_way_into_a_network_stays_while_it_drains",),
    ),
    Fault(
        "parts_for_who_may_be_dead",
        "a node that drains removes its file because of another that is not in its network, and may be dead",
        (Change(_WRITTEN, "any(other.in_use for other in others)", "any(other.may_live for other in others)"),),
        (f"{_UNIT}::test_who_drains_is_not_needed_where_others_are",),
    ),
    Fault(
        "all_part_at_once",
        "when all nodes that are written drain at the same time, nobody stays written until they read again",
        (Change(_DIRECTORY, "            if may_part(await self._read()):\n", "            if True:\n"),),
        (f"{_NETWORK}::test_when_all_drain_at_once_one_stays_written",),
    ),
    Fault(
        "old_files_count",
        "the files of nodes that were killed long ago keep others from writing themselves",
        (Change(_WRITTEN, "return self.in_use or not (self.failed or self._is_old)", "return True"),),
        (f"{_UNIT}::test_who_may_live_and_who_is_dead", f"{_NETWORK}::test_files_that_killed_nodes_have_left"),
    ),
    Fault(
        "removes_who_lives",
        "the file of a node that cannot be reached for a moment is removed",
        (Change(_WRITTEN, "return self.failed and self._is_old and not self.in_use", "return self.failed"),),
        (f"{_UNIT}::test_who_may_live_and_who_is_dead", f"{_NETWORK}::test_two_networks_in_one_directory"),
    ),
    Fault(
        "never_renewed",
        "a node that lives does not renew its file, so who cannot reach it removes it",
        (Change(_FILES, "        os.utime(Path(directory, name_of(run)), (now, now), ", "        dict("),),
        (f"{_IN_FILES}::test_a_file_is_renewed_and_is_not_made_by_that",),
    ),
    Fault(
        "dead_files_stay",
        "nobody removes the files of dead nodes",
        (Change(_DIRECTORY, "            await self._remove(dead)\n", "            pass\n"),),
        (
            f"{_NETWORK}::test_files_that_killed_nodes_have_left",
            f"{_NETWORK}::test_thirty_nodes_of_which_writers_are_killed_at_any_moment",
        ),
    ),
    Fault(
        "lost_file_stays_lost",
        "a node whose file somebody has removed does not write it again, and is found by nobody",
        (Change(_DIRECTORY, "if moved or not (renewed and self._is_read_back):", "if moved:"),),
        (f"{_NETWORK}::test_a_node_that_lives_and_whose_file_is_gone_writes_itself_again",),
    ),
    Fault(
        "broken_file_stays_broken",
        "a node whose file somebody has cut short takes it for whole, because it is there",
        (Change(_DIRECTORY, "not (renewed and self._is_read_back):", "not renewed:"),),
        (f"{_NETWORK}::test_a_node_whose_file_is_cut_short_writes_itself_again",),
    ),
    Fault(
        "seed_that_nobody_reads",
        "a node whose file nobody can read takes itself for a seed",
        (Change(_DIRECTORY, "if not self._is_read_back:", "if False:"),),
        (f"{_NETWORK}::test_a_node_that_cannot_read_its_own_file_is_no_seed",),
    ),
    Fault(
        "file_left_behind",
        "a node that closes leaves its file",
        (Change(_DIRECTORY, "        if self._has_tried:\n", "        if False:\n"),),
        (f"{_NETWORK}::test_one_that_finds_nobody_becomes_global",),
    ),
    Fault(
        "read_once",
        "who has its place in the network reads the directory no more, so parts may stay apart",
        (
            Change(
                _SEEDS,
                "                    seconds = RESOLVE_AGAIN * (0.5 + self._network.environment.jitter())\n",
                "                    seconds = 1e9\n",
            ),
        ),
        (f"{_NETWORK}::test_a_node_that_lives_and_whose_file_is_gone_writes_itself_again",),
    ),
    Fault(
        "anybody_at_a_written_address",
        "whoever is found where another node is written becomes global",
        (Change(_REDIALLER, "if self.seed and not self.written_run:\n", "if self.seed:\n"),),
        (f"{_NETWORK}::test_a_file_names_an_address_and_who_is_there_decides",),
    ),
    Fault(
        "itself_at_a_written_address",
        "a node that reaches itself where another machine's node is written becomes global",
        (Change(_REDIALLER, "if not self.seed or self.written_run:\n", "if not self.seed:\n"),),
        (f"{_NETWORK}::test_a_node_at_whose_address_another_one_is_written_is_not_global_by_that",),
    ),
    Fault(
        "dead_claim_a_node",
        "the file of an earlier run keeps a node from being dialled where it is now",
        (Change(_REDIALLER, "not (self.written_run and self.failed_at is not None)", "True"),),
        (f"{_NETWORK}::test_a_file_of_an_earlier_run_does_not_keep_a_node_from_being_dialled",),
    ),
    Fault(
        "lone_guests_count_the_dead",
        "who has lost its anchor takes the dead for connected with it, because the anchor named them",
        (Change(_SEEDS, "rules.globals if rules.anchor is not None else ()", "rules.globals"),),
        (f"{_NETWORK}::test_when_all_that_are_written_are_killed_others_take_their_place",),
    ),
    Fault(
        "files_of_others",
        "the files of other users are read",
        (Change(_FILES, 'if sys.platform != "win32" and found.st_uid != os.geteuid():', "if False:"),),
        (f"{_IN_FILES}::test_the_files_of_other_users_are_left_alone",),
    ),
    Fault(
        "follows_links",
        "a link in the place of a file is followed",
        (Change(_FILES, "entry.stat(follow_symlinks=False)", "entry.stat()"),),
        (f"{_IN_FILES}::test_links_pipes_and_directories_are_not_read",),
    ),
    Fault(
        "open_to_others",
        "other users can read who is written",
        (Change(_FILES, "os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)", "os.O_WRONLY | os.O_CREAT | os.O_EXCL)"),),
        (f"{_IN_FILES}::test_nobody_else_can_read_it_or_the_directory",),
    ),
    Fault(
        "reads_all_files",
        "somebody who fills the directory has each node read all of it",
        (Change(_FILES, "sorted(dated, reverse=True)[:MOST_READ]", "sorted(dated, reverse=True)"),),
        (f"{_IN_FILES}::test_many_files_are_not_all_read",),
    ),
    Fault(
        "line_for_each_look",
        "a broken file costs a line in the log each time that the directory is read",
        (Change(_DIRECTORY, "if kind not in self._said and len(self._said) < _FAULTS_NAMED:", "if True:"),),
        (f"{_NETWORK}::test_hostile_files_do_no_harm_and_cost_one_line",),
    ),
    # Services of DNS.
    Fault(
        "spares_are_dialled",
        "hosts that are only for the time when no better one can be reached are seeds as all others",
        (Change(_SERVICES, "return any(theirs < priority and not failed", "return any(False"),),
        (f"{_NAMED}::test_a_spare_seed_is_left_alone_while_a_better_one_works",),
    ),
    Fault(
        "spares_sleep_on",
        "when the better hosts fail, nobody wakes what dials the spare ones",
        (Change(_REDIALLER, "                self._owner.failed()\n", "                pass\n"),),
        (f"{_NAMED}::test_a_spare_seed_is_left_alone_while_a_better_one_works",),
    ),
    Fault(
        "weights_do_not_count",
        "all hosts of a service are dialled first equally often",
        (Change(_REDIALLER, "return turn_of(place.weight, max(weights), drawn)", "return drawn"),),
        (f"{_NAMED}::test_the_weights_decide_who_becomes_the_anchor",),
    ),
    Fault(
        "believed_for_ever",
        "records that say so are believed for years",
        (Change(_NAMES, "min(self._records.seconds, LONGEST_LIFE)", "self._records.seconds"),),
        (f"{_NAMED}::test_the_records_are_believed_as_long_as_they_say_and_are_then_asked_for_again",),
    ),
    Fault(
        "one_host_fails_all",
        "a host of a service whose name is not known makes the others of no use",
        (Change(_NAMES, "if failures and not found:", "if failures:"),),
        (f"{_NAMED}::test_what_fails_is_said_once_and_tried_again",),
    ),
    Fault(
        "any_text_is_a_host",
        "what a server of DNS answers ends on terminals, as it is",
        (Change("_transport/service_records.py", " and _HOST.fullmatch(one.host)})", "})"),),
        (f"{_RECORDS}::test_names_that_no_host_has_are_left_out",),
    ),
    Fault(
        "dials_all_that_dns_says",
        "an answer of DNS with very many addresses has a node dial all of them",
        (Change(_NAMES, "return found[:MOST_PLACES]", "return found"),),
        (f"{_NAMED}::test_of_very_many_addresses_only_some_are_dialled",),
    ),
    # What is advertised.
    Fault(
        "tells_where_it_listens",
        "others are told where a node listens, whatever it advertises",
        (Change(_OWN, "return self._advertised or self._at(self._hosts)", "return self._at(self._hosts)"),),
        (f"{_ADVERTISED}::test_others_are_told_what_is_advertised_and_nothing_else",),
    ),
    Fault(
        "asks_to_be_dialled_where_it_listens",
        "who asks to be dialled names where it listens, whatever it advertises",
        (
            Change(
                _OWN,
                "return self._advertised or self._at(self._interfaces.hosts())",
                "return self._at(self._interfaces.hosts())",
            ),
        ),
        (f"{_ADVERTISED}::test_who_asks_to_be_dialled_names_what_is_advertised",),
    ),
    Fault(
        "strange_to_itself",
        "a node that cannot reach itself by what it advertises does not know that it is its own seed",
        (Change(_SEEDS, "if not any(map(self._own_addresses.is_advertised, addresses)):", "if True:"),),
        (f"{_ADVERTISED}::test_a_node_that_is_among_its_seeds_by_what_it_advertises_is_global",),
    ),
    Fault(
        "itself_is_a_failed_seed",
        "a node warns of its own address, by which it cannot reach itself",
        (Change(_REDIALLER, "return unanswered or outcome", "return outcome"),),
        (f"{_ADVERTISED}::test_a_node_that_is_among_its_seeds_by_what_it_advertises_is_global",),
    ),
    Fault(
        "strangers_are_itself",
        "whoever fails to prove itself where a node says that it is, is taken for that node, in silence",
        (
            Change(
                _REDIALLER, "unanswered = outcome.connection is None and self", "unanswered = outcome.failure and self"
            ),
        ),
        (f"{_ADVERTISED}::test_a_stranger_where_a_node_says_that_it_is_does_not_stay_unnoticed",),
    ),
    Fault(
        "advertised_names_looked_up_once",
        "a name that is advertised is not looked up again",
        (Change(_OWN, "        return has_names\n", "        return False\n"),),
        (f"{_ADVERTISED}::test_a_name_that_gets_its_address_later",),
    ),
    Fault(
        "advertised_names_given_up",
        "a name that is advertised, and that nobody knows for a moment, is not looked up again",
        (Change(_OWN, "                has_names = True\n", "                pass\n"),),
        (f"{_ADVERTISED}::test_a_name_that_nobody_knows_for_a_while",),
    ),
)
