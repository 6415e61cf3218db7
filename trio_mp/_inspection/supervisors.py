"""The supervisors of a node, as an inspection shows them."""

from __future__ import annotations

from .._ids import node_of
from .._reason import describe
from .._runtime import Runtime
from .._supervision.child import Child
from .._supervision.driver import Driver
from .ports import Numbers
from .slices import STRIDE, Slices
from .texts import shortened, without_ids
from .views import ChildView, SupervisorPage, SupervisorView

MOST = 2000
"""How many children an answer has, of all supervisors together, and how many supervisors."""


async def list_supervisors(runtime: Runtime, numbers: Numbers, slices: Slices, *, ids: bool) -> SupervisorPage:
    """The supervisors of a node, in the order in which they were opened. A checkpoint, if it takes more than a slice.

    Args:
      runtime: the node.
      numbers: those of its ports.
      slices: those of this work.
      ids: whether the asker may know the IDs of ports.
    """
    drivers = [each for each in runtime.supervisors if isinstance(each, Driver)]
    places = {driver: place for place, driver in enumerate(drivers)}
    views: list[SupervisorView] = []
    left = MOST
    for driver in drivers[:MOST]:
        children: list[ChildView] = []
        family, count = driver.look(left)
        for place, (child, state) in enumerate(family):
            children.append(_view_of(runtime, child, state, numbers, ids=ids))
            if place % STRIDE == 0:
                await slices.pause()
        left -= len(children)
        owner = driver.owner
        # Supervisors may have ended since; those behind them keep their places.
        views.append(
            SupervisorView(
                name=_text(driver.settings.name or "", ids=ids),
                strategy=driver.settings.strategy.value,
                state="ending" if driver.ending else "running",
                restarts=driver.restarts,
                limit=driver.settings.limit,
                within=driver.settings.within,
                parent=places.get(driver.parent) if isinstance(driver.parent, Driver) else None,
                port=numbers.of(owner) if owner is not None else None,
                children=children,
                hidden=count - len(children),
            )
        )
        await slices.pause()
    return SupervisorPage(views, len(drivers) - len(views))


def _view_of(runtime: Runtime, child: Child, state: str, numbers: Numbers, *, ids: bool) -> ChildView:
    reference = child.reference
    # Plain: a life on this node has a `Port` here.
    port_id = str.__str__(reference.port)
    port = runtime.lifecycle.find(port_id.partition("#")[2]) if port_id else None
    if port is not None and str.__str__(port) != port_id:
        port = None
    return ChildView(
        name=_text(child.key, ids=ids),
        kind=type(child.kind).__name__.removesuffix("Kind").lower(),
        restart=child.settings.restart.value,
        state=state,
        restarts=reference.restarts,
        significant=child.settings.significant,
        node=node_of(port_id) if port_id else "",
        port=numbers.of(port) if port is not None else None,
        reason=_text(describe(reference.reason), ids=ids) if reference.reason else "",
        id=port_id if ids and port_id else None,
    )


def _text(text: str, *, ids: bool) -> str:
    return shortened(text if ids else without_ids(text))
