"""Supervisors as programs see them. The module of each kind of children says how their lives are begun."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from .._runtime import Runtime
from .._services.database import Database
from .._services.spawning import Spawner, check_reference
from .arguments import RestartName, check_child, check_function
from .driver import Driver
from .local import LocalKind
from .places import Place, check_place
from .process_kind import ProcessKind, name_of_command
from .processes import START_TIMEOUT, StrPath, check_command
from .reference import ChildRef
from .remote import RemoteKind


class Supervisor:
    """Children that are started again when they die. Made by `Node.open_supervisor`.

    The children are ordered as they were added. Any task may call the methods until the supervisor's block has been
    left.

    Attributes:
      name: the name that `Node.open_supervisor` got, or None.
    """

    def __init__(self, runtime: Any, spawner: Any, database: Database, driver: Any) -> None:
        # `Any` in the signature: type checkers of programs need not read the modules that are not for users.
        self.name: str | None = driver.settings.name
        self._runtime: Runtime = runtime
        self._spawner: Spawner = spawner
        self._database = database
        self._driver: Driver = driver

    def __repr__(self) -> str:
        return f"<Supervisor: {self._driver.label}, {len(self.children)} children>"

    @property
    def children(self) -> tuple[ChildRef, ...]:
        """References to all children that have not ended for good, in their order."""
        return self._driver.references

    @property
    def restarts(self) -> int:
        """How many restarts the supervisor has made, of all children together."""
        return self._driver.restarts

    async def start(
        self,
        async_function: Callable[..., Awaitable[object]],
        *arguments: Any,
        restart: RestartName = "permanent",
        shutdown: float | None = None,
        significant: bool = False,
        listed: tuple[str, str] | None = None,
    ) -> ChildRef:
        """Add a child behind all others: a port of this node, with a task, as `Node.start` makes it.

        Each life runs `async_function(port, *arguments, task_status=…)` in a new port, and is up when the function
        calls `task_status.started(value)`. `start` returns when the first life is up. With `rest_for_one` and
        `one_for_all` it also waits until the children before this one are up.

        Args:
          async_function: the function that each life runs.
          arguments: the arguments of the function. A `ChildRef` among them is replaced by its `port`, at each start.
          restart: when the child is started again: `"permanent"`, always; `"transient"`, after an abnormal death, for
            any reason but `()` and `("shutdown", …)`; `"temporary"`, never.
          shutdown: for how many seconds its tasks may unwind when it dies or is stopped, `math.inf` for as long as it
            takes; the node's `shutdown_timeout` by default. Supervisors that the child has opened end first, in the
            time that their children have.
          significant: whether the supervisor may end when this child ends by itself; see `auto_shutdown`.
          listed: a family of the database and a key in it. Each life's port ID is set there, and deleted when the life
            ends or is given up, so that other nodes find it. If several children are listed under one key, the latest
            one to start is found there.

        Returns:
          A reference, which follows the child from life to life.

        A checkpoint. Cancelled, it kills the child and waits until the child has unwound. With `rest_for_one` and
        `one_for_all` a child that calls `start` before it has started itself waits for ever.

        Raises:
          whatever the function raises before it has called `started`; RuntimeError: it returned before.
          TypeError, ValueError: an argument cannot work; the text names it.
          trio.ClosedResourceError: the supervisor is ending, or has ended before the child had started; or another task
            has stopped the child before.
        """
        check_function("start()", async_function)
        settings = check_child(
            "start()",
            restart=restart,
            shutdown=shutdown,
            significant=significant,
            listed=listed,
            auto_shutdown=self._driver.settings.auto_shutdown,
        )
        kind = LocalKind(self._runtime, async_function, arguments, settings.shutdown)
        return await self._driver.add(kind, name_of(async_function), settings)

    async def spawn(
        self,
        where: Place,
        function: str,
        *arguments: Any,
        restart: RestartName = "permanent",
        significant: bool = False,
        listed: tuple[str, str] | None = None,
    ) -> ChildRef:
        """Add a child behind all others: a port of another node, or of this one, as `Node.start_on` makes it.

        A lost connection is no death. After one the supervisor kills the child, and starts it again when the child's
        node has said that it has ended the child, or has had the time to end it: three and a half heartbeats of this
        node, half a heartbeat of the other, and the other's `shutdown_timeout`. In that time the child ends by itself,
        because its node has lost this one, if its event loop runs and it unwinds when it is cancelled. A child that
        shields itself, computes without a checkpoint, or runs in a process that was stopped, may go on beside its next
        life. The resource to which it writes should refuse the older epoch, which `current_epoch` says in the child.

        Args:
          where: a node ID, or any port of the node; or a `Family` of the database; or a function without arguments,
            sync or async, that returns the node for the next life.
          function: `package.module:function`, as for `Node.spawn`.
          arguments: the arguments of the function, which travel as a message does. A `ChildRef` among them is replaced
            by its `port`, at each start of the child.
          restart, significant, listed: as for `start`. There is no `shutdown`: a child unwinds in the
            `shutdown_timeout` of its node.

        Returns:
          A reference, which follows the child from life to life.

        A checkpoint. Cancelled, it kills the child, and waits until the child has unwound, or, if its node cannot be
        reached, until it has had the time for that.

        Raises:
          PortDied: as `Node.start_on`.
          TypeError, ValueError: an argument cannot work; the text names it.
          RuntimeError: the child is to run on another node, and this node has no network.
          trio.ClosedResourceError: the supervisor is ending, or has ended before the child had started; or another task
            has stopped the child before.
        """
        check_place(where)
        reference = check_reference(function)
        settings = check_child(
            "spawn()",
            restart=restart,
            shutdown=None,
            significant=significant,
            listed=listed,
            auto_shutdown=self._driver.settings.auto_shutdown,
        )
        kind = RemoteKind(self._runtime, self._spawner, self._database, where, reference, arguments)
        return await self._driver.add(kind, reference.rpartition(":")[2], settings)

    async def run_process(
        self,
        command: Sequence[StrPath],
        *,
        cwd: StrPath | None = None,
        env: Mapping[str, str] | None = None,
        start_timeout: float | None = START_TIMEOUT,
        restart: RestartName = "permanent",
        shutdown: float | None = None,
        significant: bool = False,
        listed: tuple[str, str] | None = None,
    ) -> ChildRef:
        """Add a child behind all others: a process of this machine, which is a node beside this one.

        The program of the process opens its node by `open_child_node`, and is up when it has. The process gets the
        addresses of this node, and the secret, by a pipe that it inherits, never by arguments or environment. Its
        output goes where this process's goes, its standard input is empty, and it is in a process group of its own, so
        Ctrl-C reaches this process alone.

        The process has ended when the operating system says so: normally with status 0, else with
        `("process_ended", …)`. With status 75 it asks to be started again: it is, unless it is temporary, at once, and
        that does not count as a restart. If its node is lost, and it has not ended `shutdown_timeout` later, it is
        killed. So two lives never run at the same time. If this process dies, even by SIGKILL, the child is gone two
        seconds later, unless it holds Python's interpreter lock for longer. Nobody watches the processes that it
        starts.

        Args:
          command: program and arguments, found as `subprocess` finds them. A launcher should replace itself by the
            program, as `exec` does in a shell.
          cwd: the directory that the process runs in; this process's by default.
          env: its environment; this process's by default.
          start_timeout: how long it may take to open its node, in seconds; None for as long as it takes.
          restart, significant, listed: as for `start`.
          shutdown: how long it may take to end when it is stopped, in seconds; then it is killed. The node's
            `shutdown_timeout` by default.

        Returns:
          A reference. Its `port` is that of the handler that the program has given to `open_child_node`, or the ID of
          the process's node; its `value` is that node ID.

        A checkpoint. Cancelled, it kills the process and waits until the process is gone.

        Raises:
          RuntimeError: this node has no network; or the process has ended before it was up.
          trio.TooSlowError: the process was not up in time, and was killed.
          OSError: the process could not be launched.
          TypeError, ValueError: an argument cannot work; the text names it.
          trio.ClosedResourceError: the supervisor is ending, or has ended before the child had started; or another task
            has stopped the child before.
        """
        words = check_command(command)
        settings = check_child(
            "run_process()",
            restart=restart,
            shutdown=shutdown,
            significant=significant,
            listed=listed,
            auto_shutdown=self._driver.settings.auto_shutdown,
        )
        kind = ProcessKind(self._runtime, words, cwd, env, start_timeout)
        return await self._driver.add(kind, name_of_command(words), settings)

    async def stop(self, child: ChildRef) -> None:
        """Stop a child and take it out: it is not started again. Returns when it has stopped. A checkpoint.

        Cancelled, the child stops all the same. Stopping a child that has ended for good is no error.

        Raises:
          TypeError: `child` is not a `ChildRef`.
          ValueError: the child belongs to another supervisor.
        """
        if not isinstance(child, ChildRef):
            raise TypeError(f"stop(): expected a ChildRef, as start() returns it, got {child!r}")
        await self._driver.remove(child)

    async def wait(self) -> None:
        """Wait until all children have ended for good; return at once if there are none. A checkpoint.

        A permanent child does not end for good, unless `stop` takes it out, or it dies while its node drains, when
        nothing is restarted. In the second case `wait` returns only when no task awaits the drain any more, so that a
        program which waits here does not leave its block before. Else `wait` waits until the block is cancelled, for
        example because the supervisor gives up. Cancelled, it changes nothing.
        """
        await self._driver.wait()


def name_of(function: Callable[..., object]) -> str:
    """The name of a child that runs this function."""
    function = getattr(function, "func", function)
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) else type(function).__name__
