"""What an inspection shows: plain frozen values, which travel as tables of their fields.

A reader takes the fields that it knows, so nodes of different versions can inspect each other: a field that is new gets
a default, and none changes its meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class PortView:
    """One port, as its node sees it.

    Attributes:
      number: what the node calls it: a running number of its own, which no other port ever gets. Never a part of the
        port's ID.
      function: the function that the port runs, or one of its handlers, as `package.module:name`; empty if it has none.
      kind: `"task"` for a port with tasks of its own, `"mailbox"` for one that only has a mailbox, `"reply"` for one
        that takes the reply to a call, `"handlers"` for all others.
      state: `"idle"`; `"busy"`, an async handler runs; or `"unwinding"`, it is dead and its tasks have not ended.
      queued: how many messages wait in it.
      queued_size: how many bytes of memory those of them take that came from other nodes.
      monitors: how many monitors wait for its death, those of other nodes and of calls among them.
      tasks: how many tasks it has.
      age: for how many seconds it is there, to a tenth of a second; None for the reply port of a call.
      delivered: how many messages and calls have come to it, those that wait among them.
      rate: how many have come per second since it was shown before, at least half a second ago; None if that is more
        than a minute ago, or it never was.
      reason: why it died, if it unwinds; otherwise empty.
      id: its ID; None unless the setting `inspect` of its node is `"act"`.
    """

    number: int
    function: str
    kind: str
    state: str
    queued: int = 0
    queued_size: int = 0
    monitors: int = 0
    tasks: int = 0
    age: float | None = None
    delivered: int | None = None
    rate: float | None = None
    reason: str = ""
    id: str | None = None


@dataclass(frozen=True)
class PortPage:
    """Some ports of a node, in the order that was asked for.

    Attributes:
      ports: the ports.
      after: what `Inspector.ports` takes to go on behind the last of them; None if no port is left. It is good for a
        minute.
      count: how many ports the node has in all, those of calls and those that unwind among them.
    """

    ports: list[PortView]
    after: str | None = None
    count: int = 0


@dataclass(frozen=True)
class LinkView:
    """What a node keeps about another one: the connection with it, and what waits for it.

    Attributes:
      node: the ID of the other node.
      state: `"up"`, there is a connection in use; `"waiting"`, one is wanted; or `"known"`, there is none, and nothing
        needs one.
      kind: `"unix"`, `"tcp"` or `"memory"`; empty without a connection.
      address: where the connection leads to, or where it came from, for people; empty without a connection.
      dialled: whether the node that is inspected has dialled.
      encryption: `"certificates"`, `"secret"` (TLS with a certificate that nobody trusts, bound to the secret), or
        `"none"`; empty without a connection.
      seconds: for how long the connection is in use; None without one.
      provider: the program and the version that the other node runs; empty without a connection.
      place: what the other node is to the one that is inspected: `"anchor"`, the global node that this one is attached
        to; `"guest"`, it is attached to this one; `"global"`, another global node; empty for any other.
      queued: how many messages wait to be written.
      queued_size: how many bytes those have.
      monitors: how many ports of the other node are monitored here, calls that wait for an answer among them.
      monitored: how many ports here the other node monitors.
      calls: how many calls of the other node are in flight here.
      spawned: how many live ports the other node has spawned here.
    """

    node: str
    state: str
    kind: str = ""
    address: str = ""
    dialled: bool = False
    encryption: str = ""
    seconds: float | None = None
    provider: str = ""
    place: str = ""
    queued: int = 0
    queued_size: int = 0
    monitors: int = 0
    monitored: int = 0
    calls: int = 0
    spawned: int = 0


@dataclass(frozen=True)
class LinkPage:
    """Some links of a node, ordered by the IDs of the other nodes.

    Attributes:
      links: the links.
      after: the ID behind which the next page begins; None if none is left.
    """

    links: list[LinkView] = field(default_factory=list)
    after: str | None = None


@dataclass(frozen=True)
class TaskView:
    """One task, with the tasks in its nurseries.

    Attributes:
      name: the function that it runs, as `package.module:name`; of the root the ID of the node.
      port: the number of the port that it belongs to; None if it is a task of the node itself, or of another task.
      where: the innermost function of the program that it is in; empty if it runs none.
      line: the line in that function where it waits; 0 if it runs none.
      waits_for: the function that it waits in, such as `trio:sleep`.
      children: the tasks in its nurseries.
      hidden: how many of these are left out, for lack of room.
      stack: where it is, as a traceback shows it; None unless stacks were asked for.
    """

    name: str
    port: int | None = None
    where: str = ""
    line: int = 0
    waits_for: str = ""
    children: list[TaskView] = field(default_factory=list)
    hidden: int = 0
    stack: str | None = None


@dataclass(frozen=True)
class ChildView:
    """One child of a supervisor.

    Attributes:
      name: its name in logs.
      kind: `"local"`, its lives are ports of this node; `"remote"`, of other nodes; `"process"`, processes; or
        `"worker"`, worker processes.
      restart: `"permanent"`, `"transient"` or `"temporary"`.
      state: `"down"`, `"starting"`, `"up"` or `"stopping"`.
      restarts: how often it was started again.
      significant: whether the supervisor may end when it ends.
      node: where its present life runs, or where the last one ran; empty before the first.
      port: the number of its port, if that is one of the node that is inspected.
      reason: why its latest life has ended; empty if none has, or normally.
      id: the ID of the port of its life; None unless the setting `inspect` of the node is `"act"`.
    """

    name: str
    kind: str
    restart: str
    state: str
    restarts: int = 0
    significant: bool = False
    node: str = ""
    port: int | None = None
    reason: str = ""
    id: str | None = None


@dataclass(frozen=True)
class SupervisorView:
    """One supervisor that is open.

    Attributes:
      name: the name that the program has given it; may be empty.
      strategy: `"one_for_one"`, `"one_for_all"` or `"rest_for_one"`.
      state: `"running"`; or `"ending"`, it stops its children.
      restarts: how many restarts it has made, of all children.
      limit, within: it gives up with more than so many restarts within so many seconds.
      parent: the index, in the list of all, of the supervisor around it; None if there is none.
      port: the number of the port whose task has opened it; None if no port has.
      children: its children, in their order.
      hidden: how many of these are left out, for lack of room.
    """

    name: str
    strategy: str
    state: str
    restarts: int = 0
    limit: int = 0
    within: float = 0.0
    parent: int | None = None
    port: int | None = None
    children: list[ChildView] = field(default_factory=list)
    hidden: int = 0


@dataclass(frozen=True)
class SupervisorPage:
    """The supervisors of a node.

    Attributes:
      supervisors: in the order in which they were opened.
      hidden: how many are left out, for lack of room.
    """

    supervisors: list[SupervisorView] = field(default_factory=list)
    hidden: int = 0


@dataclass(frozen=True)
class TracedMessage:
    """A message that a port has got.

    Attributes:
      number: which one it is since the trace has begun, from 1 on.
      seconds: how long after the beginning of the trace a handler, or the mailbox, got it.
      text: its elements, as Python writes them, of at most 500 characters. In the place of an object of the program
        stands its type.
    """

    number: int
    seconds: float
    text: str


@dataclass(frozen=True)
class TraceEnd:
    """How a trace has ended.

    Attributes:
      why: `"limit"`, `"time"` or `"died"`.
      count: how many messages the port has got meanwhile.
      dropped: how many of them were left out.
    """

    why: str
    count: int = 0
    dropped: int = 0
