"""Faults in how a node hears what its process logs."""

from __future__ import annotations

from .fault import Change, Fault

_TAP = "_services/log_tap.py"
_TESTS = "tests/services/test_collected_logs.py"

LOGS = (
    Fault(
        "handler_at_the_root",
        "who collects logs takes the warnings from stderr, and the effect from a later basicConfig",
        (Change(_TAP, "self._listen()", "logging.getLogger().addHandler(self)"),),
        (f"{_TESTS}::test_warnings_still_go_to_stderr_where_nothing_is_configured",),
    ),
    Fault(
        "sends_what_does_not_propagate",
        "records are sent that no handler of the root would get",
        (Change(_TAP, " and _reaches_root(logger)", ""),),
        (f"{_TESTS}::test_what_does_not_reach_the_root_is_not_sent",),
    ),
    Fault(
        "hears_twice",
        "records are sent twice after another program has wrapped the loggers as well",
        (Change(_TAP, "self._call_handlers is call_handlers and ", ""),),
        (f"{_TESTS}::test_who_wraps_the_loggers_as_well_keeps_what_it_did",),
    ),
    Fault(
        "takes_back_what_another_has_wrapped",
        "what another program has put in the place of Logger.callHandlers is lost at the end of a collection",
        (Change(_TAP, "if logging.Logger.callHandlers is self._call_handlers:", "if True:"),),
        (f"{_TESTS}::test_who_wraps_the_loggers_as_well_keeps_what_it_did",),
    ),
)
