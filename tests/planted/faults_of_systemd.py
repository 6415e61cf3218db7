"""Faults in what a node tells the manager of its process, and in listening on the manager's sockets."""

from __future__ import annotations

from .fault import Change, Fault

_SYSTEMD = "_node/systemd.py"
_MANAGER = "_transport/service_manager.py"
_INHERITED = "_transport/inherited.py"
_NETWORK = "_peers/network.py"
_TESTS = "tests/node/test_systemd.py"
_SOCKETS = "tests/transport/test_inherited.py"

SYSTEMD = (
    Fault(
        "ready before its services",
        "a service is ready when its node listens, though its services have not started",
        (Change(_SYSTEMD, "(standing.started.is_set() and not stops)", "not stops"),),
        (f"{_TESTS}::test_it_is_ready_when_its_services_have_started",),
    ),
    Fault(
        "ready while it drains",
        "a service that stops before it has started says that it is ready",
        (Change(_SYSTEMD, "(standing.started.is_set() and not stops)", "standing.started.is_set()"),),
        (f"{_TESTS}::test_a_node_that_drains_before_its_services_have_started_is_never_ready",),
    ),
    Fault(
        "failures stop the service",
        "a program that opens its node again after a failure is killed by the manager, which was told of a stop",
        (Change(_SYSTEMD, "ends = standing.closing and not standing.failed and", "ends = standing.closing and"),),
        (f"{_TESTS}::test_a_node_that_fails_may_be_opened_again",),
    ),
    Fault(
        "one of several nodes stops the service",
        "a program that closes one of its nodes and goes on with another is killed by the manager",
        (Change(_SYSTEMD, " and not manager.others_wait", ""),),
        (f"{_TESTS}::test_the_next_node_speaks_when_the_one_that_spoke_has_ended",),
    ),
    Fault(
        "more time is asked for once",
        "a drain that takes longer than the first request for more time is killed by the manager",
        (Change(_SYSTEMD, "            self._extend_at = now + AGAIN\n", "            self._extend_at = math.inf\n"),),
        (f"{_TESTS}::test_it_asks_for_more_time_while_it_drains",),
    ),
    Fault(
        "signs of life at the last moment",
        "a sign of life comes when the manager has just given the service up",
        (Change(_SYSTEMD, "now + manager.watchdog / _SIGNS", "now + manager.watchdog"),),
        (f"{_TESTS}::test_signs_of_life_come_four_times_in_the_time",),
    ),
    Fault(
        "told of a stop by a drain",
        "a node that only drains says that its service stops, and no signal reaches it any more",
        (Change(_SYSTEMD, "or standing.stopping or ends", "or standing.draining.is_set() or ends"),),
        (f"{_TESTS}::test_a_node_that_only_drains_goes_on",),
    ),
    Fault(
        "the second node never speaks",
        "when the node that speaks has ended, the manager hears nothing of the next one",
        (
            Change(
                _SYSTEMD,
                "            await trio.sleep(_AGAIN_SPEAKING)\n",
                "            await trio.sleep_forever()\n",
            ),
        ),
        (f"{_TESTS}::test_the_next_node_speaks_when_the_one_that_spoke_has_ended",),
    ),
    Fault(
        "told without a descriptor",
        "what cannot be told because the process has no file descriptor left counts as told",
        (Change(_MANAGER, ", errno.EMFILE, errno.ENFILE, errno.ENOMEM})", "})"),),
        (f"{_TESTS}::test_what_passes_is_told_later",),
    ),
    Fault(
        "signs of life of another process",
        "a process gives the signs of life that the manager wants from another one",
        (Change(_MANAGER, 'if process not in {"", str(os.getpid())}:', "if not process.isascii():"),),
        (f"{_TESTS}::test_no_sign_of_life_that_nobody_wants_from_this_process",),
    ),
    Fault(
        "a busy manager hears nothing",
        "what the manager cannot take at once, it is never told",
        (Change(_MANAGER, "            if error.errno in _BUSY:\n                return False\n", ""),),
        (f"{_TESTS}::test_a_manager_that_is_busy_is_told_later",),
    ),
    Fault(
        "abstract sockets are paths",
        "a manager that listens at an abstract socket hears nothing",
        (
            Change(
                _MANAGER, 'f"\\0{self.address[1:]}" if self.address.startswith("@") else self.address', "self.address"
            ),
        ),
        (f"{_TESTS}::test_a_service_that_starts_drains_and_closes",),
    ),
    Fault(
        "children speak to the manager",
        "the address of the manager stays in the environment, for each process that this one starts",
        (Change(_MANAGER, "environ.pop(name) for name", "environ[name] for name"),),
        (f"{_TESTS}::test_who_takes_what_the_manager_says",),
    ),
    Fault(
        "each node speaks",
        "all nodes of a process tell its manager how they stand",
        (Change(_MANAGER, "self._claimed.acquire(blocking=False)", "(self._claimed.acquire(blocking=False) or True)"),),
        (f"{_TESTS}::test_one_node_of_a_process_speaks",),
    ),
    Fault(
        "children inherit the sockets",
        "a process that this one starts keeps the manager's sockets open",
        (Change(_INHERITED, "os.set_inheritable(descriptor, False)", "os.get_inheritable(descriptor)"),),
        (f"{_SOCKETS}::test_a_name_stands_for_all_sockets_of_that_name",),
    ),
    Fault(
        "sockets of another process",
        "a process takes descriptors for sockets that the manager has passed to another one",
        (Change(_INHERITED, 'if found.get("LISTEN_PID") != str(os.getpid()):', "if not os.getpid():"),),
        (f"{_SOCKETS}::test_why_there_is_none_of_that_name",),
    ),
    Fault(
        "a number is used again",
        "whatever has the number of a socket that was closed is listened on",
        (Change(_INHERITED, "        self._used.add(descriptor)\n", ""),),
        (f"{_SOCKETS}::test_a_node_listens_and_closes_it",),
    ),
    Fault(
        "connections for listeners",
        "a node is to accept connections from a socket that does not listen",
        (
            Change(
                _INHERITED,
                "    if not listens:\n",
                "    if False:\n",
            ),
        ),
        (f"{_SOCKETS}::test_what_is_no_listening_socket",),
    ),
    Fault(
        "a wrong socket is closed",
        "a socket on which no node can listen is closed, though the program may use it",
        (Change(_INHERITED, "            inherited.detach()\n", "            inherited.close()\n"),),
        (f"{_SOCKETS}::test_what_is_no_listening_socket",),
    ),
    Fault(
        "half of the addresses",
        "nobody is told that a node on a socket for both kinds of IP addresses can be reached by IPv4",
        (Change(_INHERITED, "for each, _ in opened if _hears_ipv4(each)]", "for each, _ in opened[:0]]"),),
        (f"{_SOCKETS}::test_a_socket_for_both_kinds_of_ip_addresses",),
    ),
    Fault(
        "inherited first",
        "a node that cannot listen somewhere closes the manager's sockets, which nobody gets again",
        (Change(_NETWORK, "key=lambda bind: isinstance(bind, InheritedBind)", "key=lambda _: 0"),),
        (f"{_SOCKETS}::test_a_node_that_cannot_listen_elsewhere_leaves_the_socket_to_the_next",),
    ),
)
