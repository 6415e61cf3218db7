"""Faults in where a node listens and dials: the files of Unix sockets, and what it is told to use."""

from __future__ import annotations

from .fault import Change, Fault

_UNIX = "_transport/unix_sockets.py"
_SOCKETS = "_transport/sockets.py"
_TESTS = "tests/transport/test_unix_sockets.py"
_LIVE = f"{_TESTS}::test_a_live_socket_is_left_alone_and_notices_nothing"
_REMOVED = "if stat.S_ISSOCK(found.st_mode) and found.st_uid == os.geteuid() and is_dead(path):"

SOCKETS = (
    Fault(
        "dead_for_who_does_not_listen",
        "a node that is bound, and about to listen, is taken for dead; one that listens has a connection of nobody",
        (Change(_UNIX, "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)", "socket.socket(socket.AF_UNIX)"),),
        (_LIVE, f"{_TESTS}::test_the_place_of_who_is_about_to_listen_is_not_taken"),
    ),
    Fault(
        "live_sockets_removed",
        "whoever finds the socket of a node with a random ID removes it, dead or not",
        (Change(_UNIX, _REMOVED, _REMOVED.replace("is_dead(path)", "True")),),
        (_LIVE,),
    ),
    Fault(
        "sockets_of_others_removed",
        "the dead socket of another user is removed",
        (Change(_UNIX, " and found.st_uid == os.geteuid()", ""),),
        (f"{_TESTS}::test_what_is_another_users_or_no_socket_is_left_alone",),
    ),
    Fault(
        "files_removed",
        "a link to a dead socket is removed",
        (Change(_UNIX, "found = path.lstat()", "found = path.stat()"),),
        (f"{_TESTS}::test_what_is_another_users_or_no_socket_is_left_alone",),
    ),
    Fault(
        "sockets_of_named_nodes_removed",
        "the socket of a node that comes back is removed by others",
        (Change(_UNIX, "if not (locked and is_of_random_id(path.name)):", "if not locked:"),),
        (f"{_TESTS}::test_who_dials_a_dead_socket_removes_it",),
    ),
    Fault(
        "removed_without_the_lock",
        "what was dead when it was judged, and is another's now, is removed",
        (Change(_UNIX, "if not (locked and is_of_random_id(path.name)):", "if not is_of_random_id(path.name):"),),
        (f"{_TESTS}::test_nothing_is_removed_without_the_lock",),
    ),
    Fault(
        "bound_without_the_lock",
        "two nodes take the place of one dead socket, and one of them removes the other's",
        (Change(_UNIX, "if locked is not False or not left:", "if True:"),),
        (f"{_TESTS}::test_who_listens_waits_for_the_lock_and_goes_without_when_it_takes_too_long",),
    ),
    Fault(
        "lock_waited_for",
        "another user who holds the lock keeps a node from listening, for ever",
        (Change(_UNIX, "if locked is not False or not left:", "if locked is not False:"),),
        (f"{_TESTS}::test_who_listens_waits_for_the_lock_and_goes_without_when_it_takes_too_long",),
    ),
    Fault(
        "dead_sockets_beside_kept",
        "the sockets of killed nodes with random IDs are left for ever",
        (Change(_SOCKETS, "unix_sockets.remove_dead_beside(Path(dialled.path))", "pass"),),
        (f"{_TESTS}::test_a_killed_node_with_a_random_id_leaves_nothing_for_long",),
    ),
    Fault(
        "dead_sockets_dialled_kept",
        "who dials the socket of a killed node with a random ID leaves it",
        (Change(_SOCKETS, "unix_sockets.remove_dead(Path(address.path))", "pass"),),
        (f"{_TESTS}::test_who_dials_a_dead_socket_removes_it",),
    ),
    Fault(
        "any_interface_dialled",
        "a seed `*:4040` is looked up as a host of that name",
        (Change("_settings/checks.py", 'return TCPAddress("localhost", seed.port) if', "return seed if"),),
        ("tests/settings/test_settings.py::test_a_seed_on_all_interfaces_is_one_on_this_host",),
    ),
    Fault(
        "setting_unknown_to_type_checkers",
        "a setting works, but a type checker does not know it",
        (Change("_settings/settings.py", ": Iterable[str]\n    share_logs: bool\n", ": Iterable[str]\n"),),
        ("tests/settings/test_settings_table.py::test_type_checkers_know_the_same_settings",),
    ),
    Fault(
        "default_of_another_setting",
        "a default is changed, and the documentation still shows the one before",
        (Change("_settings/settings.py", " 10.0,\n        checks.seconds,", " 12.0,\n        checks.seconds,"),),
        ("tests/settings/test_settings_table.py::test_the_page_has_the_table",),
    ),
    Fault(
        "level_of_another_line",
        "a logger writes a line of another level, and the documentation does not know it",
        (Change("_groups/group.py", 'log.warning(\n                    "the key', 'log.critical("the key'),),
        ("tests/programs/test_reference.py::test_the_page_is_as_the_code_is[loggers.md]",),
    ),
    Fault(
        "asyncio_not_told",
        "a program of asyncio hears of a bad yield, and not that Trio is needed",
        (Change("_node/opening.py", "    _check_trio()\n", ""),),
        ("tests/node/test_bad_input.py::test_a_node_under_asyncio_says_that_it_needs_trio",),
    ),
)
