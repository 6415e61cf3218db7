"""Faults in how a network forms."""

from __future__ import annotations

from .fault import Change, Fault

_RULES = "_protocol/membership/rules.py"
_REDIALLER = "_services/redialler.py"
_SERVICE = "_services/membership.py"
_SEARCH = "_services/search.py"
_UNIT = "tests/protocol/membership/test_membership.py"
_NETWORK = "tests/services/test_network_membership.py"
_AT_A_SEED = "tests/services/test_strangers_at_a_seed.py"
_SIGHTINGS = "_services/sightings.py"
_GONE = "tests/services/test_gone_nodes.py"

MEMBERSHIP: tuple[Fault, ...] = (
    Fault(
        "anybody_is_global",
        "where certificates name nodes, one is global whose certificate does not allow it",
        (Change(_RULES, 'why = self.permissions.of(node_id) if is_global else ""', 'why = ""'),),
        (f"{_UNIT}::test_a_global_node_meshes_with_nobody_who_may_not_be_one",),
    ),
    Fault(
        "anybody_is_an_anchor",
        "where certificates name nodes, one is taken for an anchor whose certificate does not allow it to be global",
        (Change(_RULES, "if why := self.permissions.of(node_id):", 'if why := "":'),),
        (f"{_UNIT}::test_nobody_attaches_to_who_may_not_be_global",),
    ),
    Fault(
        "anybody_makes_global",
        "where certificates name nodes, any member makes another one global, with which nobody meshes then",
        (Change(_RULES, "if not why and not self.is_global:", "if False:"),),
        (f"{_UNIT}::test_who_may_not_become_global_at_anothers_word_stays_what_it_is",),
    ),
    Fault(
        "greetings_are_seeds",
        "who says in its greeting that it is a node is taken for the seed at that address, unproven",
        (Change(_REDIALLER, "                if outcome.proven:\n", "                if True:\n"),),
        ("tests/services/test_certified_globals.py::test_a_greeting_alone_makes_nobody_a_seed",),
    ),
    Fault(
        "certificates_allow_anything",
        "a certificate without the name for it allows its node to be global",
        (Change("_transport/certificates.py", "return GLOBAL in _names_in(der_untrusted)[1]", "return True"),),
        ("tests/transport/test_certificates.py::test_who_may_be_global_by_a_certificate",),
    ),
    Fault(
        "loner_waits",
        "who loses its anchor does not join again those that it is connected with, and never attaches to them",
        (Change(_RULES, "return [Detached(node_id), *map(self._join, self.joined)]", "return [Detached(node_id)]"),),
        (f"{_UNIT}::test_who_loses_its_anchor_joins_again_those_that_it_is_still_connected_with",),
    ),
    Fault(
        "global_in_secret",
        "who becomes global does not tell those that have taken it for something else",
        (
            Change(
                _RULES,
                "return [*detached, BecameGlobal(), *map(self._join, self.joined)]",
                "return [*detached, BecameGlobal()]",
            ),
        ),
        (f"{_UNIT}::test_who_becomes_global_joins_again_whom_it_has_joined_as_something_else",),
    ),
    Fault(
        "late_attach_counts",
        "an `attach` that has waited since the connection before makes a guest of who is attached elsewhere",
        (Change(_RULES, "node_id not in self.heard or", "not self.is_global or"),),
        (f"{_UNIT}::test_an_attach_that_has_waited_since_the_connection_before_does_nothing",),
    ),
    Fault(
        "guest_is_behind",
        "who attaches is not told what has changed since it was welcomed",
        (Change(_RULES, "return [GuestUp(node_id), self._welcome(node_id)]", "return [GuestUp(node_id)]"),),
        (f"{_UNIT}::test_attaching",),
    ),
    Fault(
        "strangers_stay_strangers",
        "a node does not tell its anchor of a global node that it has met",
        (Change(_RULES, "return [Send(self.anchor, messages.meet(node_id, addresses))]", "return []"),),
        (f"{_UNIT}::test_a_global_node_that_the_anchor_does_not_know_is_introduced_to_it",),
    ),
    Fault(
        "forgotten_with_the_anchor",
        "a node forgets a global node as soon as its anchor has lost it, and finds nobody when its anchor dies, too",
        (Change(_RULES, "dict(former[-room:] if room else ())", "{}"),),
        (
            f"{_UNIT}::test_what_the_anchor_does_not_use_any_more_is_kept_in_mind",
            f"{_NETWORK}::test_a_global_node_that_is_cut_off_from_the_anchor_for_a_while_is_not_forgotten",
        ),
    ),
    Fault(
        "former_ones_first",
        "a node that is lost dials whoever has ever been global before those that its anchor named last",
        (Change(_SERVICE, " + (redialler.node_id in self.rules.former)", ""),),
        (f"{_NETWORK}::test_those_that_the_anchor_names_are_dialled_before_those_that_it_named_once",),
    ),
    Fault(
        "former_ones_without_end",
        "the addresses of all that have ever been global are kept",
        (Change(_RULES, "dict(former[-room:] if room else ())", "dict(former)"),),
        (f"{_UNIT}::test_how_many_former_ones_are_kept_in_mind",),
    ),
    Fault(
        "newcomer_in_secret",
        "global nodes are not told of a new one, so that two that come at the same time stay strangers",
        (
            Change(
                _RULES,
                "return [*effects, GlobalUp(node_id), *meetings, *self._tell_guests()]",
                "return [*effects, GlobalUp(node_id), *self._tell_guests()]",
            ),
        ),
        (f"{_UNIT}::test_a_global_node_that_joins_is_meshed_and_the_others_and_the_guests_hear_of_it",),
    ),
    Fault(
        "guest_and_global",
        "a guest that becomes global remains a guest, and its end is noted for one of the two only",
        (Change(_RULES, "            del self.guests[node_id]\n            effects", "            effects"),),
        (f"{_UNIT}::test_a_guest_that_turns_out_to_be_global_is_no_guest_any_more",),
    ),
    Fault(
        "dials_go_round",
        "a request to dial is passed on by everybody, also back",
        (
            Change(
                _RULES,
                "for node_id in self.mesh] if by == other and by in self.guests else []",
                "for node_id in self.mesh] if other in self.guests else []",
            ),
        ),
        (f"{_UNIT}::test_a_request_that_was_passed_on_is_not_passed_around",),
    ),
    Fault(
        "anybody_has_it_dial",
        "a request to dial is believed, whoever passes it on",
        (Change(_RULES, "not (by in {other, self.anchor} or by in self.mesh):", "False:"),),
        (f"{_UNIT}::test_not_everybody_can_have_a_node_dial_and_not_everything",),
    ),
    Fault(
        "welcome_without_join",
        "whoever says welcome becomes the anchor",
        (Change(_RULES, "        if node_id not in self.joined:\n            return []\n", ""),),
        (f"{_UNIT}::test_a_welcome_that_was_not_asked_for_does_nothing",),
    ),
    Fault(
        "replaced_unseen",
        "a connection that takes the place of another one before anybody has looked is not joined anew",
        (
            Change(
                _REDIALLER,
                "while not self.refusal and peer.current is current and self._owner.is_wanted(self):",
                "while not self.refusal and peer.is_up() and self._owner.is_wanted(self):",
            ),
        ),
        (f"{_NETWORK}::test_a_connection_that_takes_the_place_of_the_one_before_is_attached_by",),
    ),
    Fault(
        "mistaken_for_global",
        "whoever is found at the address of a global node is taken for it, and becomes global",
        (Change(_REDIALLER, "if self.seed and not self.written_run:\n", "if True:\n"),),
        (f"{_NETWORK}::test_a_global_node_whose_address_is_anothers_by_now",),
    ),
    Fault(
        "global_by_reflection",
        "whoever passes a node's greeting back to it, at its seed's address, makes it global",
        (Change(_SERVICE, "if not any(transport.is_at(", "if False and not any(transport.is_at("),),
        (f"{_AT_A_SEED}::test_who_splices_a_node_with_itself_does_not_make_it_forget_its_seed",),
    ),
    Fault(
        "itself_for_ever",
        "an address at which a node has met itself is never dialled again",
        (
            Change(
                _REDIALLER,
                "                    await trio.sleep(own_backoff.next())\n                    continue\n",
                "                    return False\n",
            ),
        ),
        (f"{_AT_A_SEED}::test_who_splices_a_node_with_itself_does_not_make_it_forget_its_seed",),
    ),
    Fault(
        "claimed_is_proven",
        "who only says the name of a node that is connected is taken for it, and the seed is given up",
        (Change("_peers/network.py", "(dialled.proven and self.is_connected(", "(self.is_connected("),),
        (f"{_AT_A_SEED}::test_a_stranger_cannot_pass_for_a_node_that_is_connected",),
    ),
    Fault(
        "guesses_at_once",
        "a seed that is killed while it authenticates is suspected of another secret",
        (Change(_REDIALLER, "outcome.doubtful and not self._doubtful", "False"),),
        (f"{_AT_A_SEED}::test_a_seed_that_was_killed_while_it_authenticated_is_not_suspected_of_another_secret",),
    ),
    Fault(
        "dials_without_end",
        "others can have a node dial as many as they like at the same time",
        (Change(_SEARCH, "if len(self._asked) >= ASKED_LIMIT:", "if False:"),),
        (f"{_NETWORK}::test_floods_of_requests_to_dial",),
    ),
    Fault(
        "waits_for_the_gone",
        "a call to a node that was reported gone takes all of `connect_timeout`",
        (Change(_SEARCH, "peer.execute(peer.association.presume_gone(", "str(("),),
        (f"{_GONE}::test_a_call_to_a_node_that_was_reported_gone_ends_soon",),
    ),
    Fault(
        "gone_where_it_was_not_dialled",
        "a node that is not listed is given up, and where it was seen last it was not dialled",
        (Change(_SEARCH, "(*(found or ()), *self._sightings.addresses(peer.id))", "found or ()"),),
        (f"{_GONE}::test_a_node_that_is_not_listed_but_answers_is_used",),
    ),
    Fault(
        "gone_for_a_moment",
        "a node that listens nowhere is given up when its entry is missing once",
        (Change(_SEARCH, "if not patient and", "if"),),
        (f"{_GONE}::test_a_node_that_listens_nowhere_may_be_without_an_entry_for_a_moment",),
    ),
    Fault(
        "gone_before_it_was_there",
        "a node that is about to start for the first time is given up, because the network has no entry for it",
        (Change(_SIGHTINGS, "if node_id not in self._listed:", "if not node_id:"),),
        (f"{_GONE}::test_a_node_that_was_never_seen_is_waited_for",),
    ),
    Fault(
        "missed_without_an_entry",
        "a node that never had an entry is given up because it has none",
        (Change(_SIGHTINGS, "if node_id not in self._listed:", "if node_id not in self._seen:"),),
        (f"{_GONE}::test_a_node_that_never_had_an_entry_is_waited_for",),
    ),
    Fault(
        "gone_though_listed",
        "a node that refuses connections for a moment is given up, though nothing suggests that it has gone",
        (Change(_SIGHTINGS, "return await self._directory.find_listed(node_id) == {}", "return True"),),
        (f"{_GONE}::test_a_call_that_was_waiting_when_the_node_was_reported_gone",),
    ),
    Fault(
        "nobody_said_that_it_is_gone",
        "a node that nobody can be asked about is given up",
        (
            Change(
                _SIGHTINGS,
                "return await self._directory.find_listed(node_id) == {}",
                "return not await self._directory.find_listed(node_id)",
            ),
        ),
        (f"{_GONE}::test_a_node_without_an_anchor_believes_nothing",),
    ),
    Fault(
        "sightings_without_bound",
        "who lists ever more nodes has them all remembered",
        (Change(_SIGHTINGS, "if len(self._seen) > REMEMBERED:", "if not self._seen:"),),
        (f"{_GONE}::test_what_is_kept_of_nodes_that_were_seen_is_bounded",),
    ),
)
