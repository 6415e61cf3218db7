"""What log records of this package say to programs: an event, by a word, and whom it is about.

Texts of records are for people and change from version to version; these words do not.
"""

from __future__ import annotations

EVENTS = {
    "answer_dropped": "the answer to a call, or an exception for its caller, is dropped",
    "attached": "this node is attached to a global node, its anchor",
    "callback_failed": "a function of the program raised that the package has called",
    "certificate": "certificate files have changed, cannot be used, or expire soon",
    "channel": "the function of a channel ended with it",
    "child_died": "a child of a supervisor died",
    "child_missing": "messages for a child of a supervisor are lost while no life of it runs",
    "complaint": "another node does what this one leaves out or refuses; `reason` says what, in a word",
    "connection_down": "no connection with another node is in use any more",
    "connection_up": "a connection with another node is in use",
    "detached": "this node is no longer attached to its anchor",
    "doubt": "a port of another node may be dead or alive, and is killed or monitored again",
    "draining": "this node drains, or has drained; or another node says that it drains",
    "dropped": "messages for another node were dropped, or are refused by a port",
    "expired": "a call was not begun: its time was up, or nobody waited any more",
    "failed": "a task, handler or function of a port failed, when that could not kill the port any more",
    "family": "a family of the database has no usable member, or a key that names none",
    "global": "this node is global now",
    "health": "the node answers probes",
    "inspected": "another node has looked at this one, or has done something here, by inspection",
    "listening": "this node listens nowhere",
    "member": "the members of a group have changed, or a call goes to another one",
    "own_error": "an error in this program, which ended what it was about",
    "parting": "a peer was asked to part, and does not answer",
    "port_died": "a port died, and nobody monitors it; or somebody does, at the level DEBUG",
    "process": "a process of a supervisor is ready, has ended, or is killed",
    "request": "a message of this program to its own node port cannot be served",
    "restart": "a child of a supervisor is started again",
    "secret": "the file of secrets has changed, or cannot be used; or a node dials with another secret than this one",
    "seed": "a seed or a global node cannot be reached, or is this node itself",
    "service": "a service of the settings has started",
    "service_manager": "the manager of this process as a service, such as systemd, cannot be told how the node stands",
    "settings": "where the settings of the node come from, and what is wrong with them",
    "spawn": "a port cannot be spawned or started",
    "stalled": "a handler, a task or the machine has kept everything else from running",
    "start_failed": "the start of a child of a supervisor failed",
    "stopping": "the program is to stop: its node drains, has drained, or was cut short",
    "stranger": "something was wrong with a connection before its other side was known",
    "stream": "the function of a byte stream failed",
    "unwatched": "there is no thread that would watch the event loop",
    "unwinding": "tasks of a dead port, or a cancelled start, take too long to end",
    "worker": "a worker process is up, has ended, is slow, or is killed",
}
"""The events, each with what has happened."""


def fields(event: str, node: str = "", *, peer: str = "", reason: str = "") -> dict[str, object]:
    """Return the attributes that a log record of this package has besides its text, as `extra`.

    Args:
      event: one of `EVENTS`.
      node: the ID of the node that logs; empty where no node does.
      peer: the ID of the other node that it is about; empty if it is about none.
      reason: why, as an identifier: the one of a death or a loss, or the cause of a connection's end.
    """
    return {"node": node, "peer": peer, "event": event, "reason": reason}
