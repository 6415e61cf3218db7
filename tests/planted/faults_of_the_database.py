"""Faults in the shared database: whose copy counts, who is told what, what readers see."""

from __future__ import annotations

from .fault import Change, Fault

_RECORDS = "_protocol/database/records.py"
_COPIES = "_protocol/database/copies.py"
_SOURCES = "_protocol/database/sources.py"
_TABLES = "_protocol/database/tables.py"
_REPLICA = "_protocol/database/replica.py"
_SERVICE = "_services/database.py"
_CHANGES = "_services/changes.py"
_REGISTRATIONS = "_services/registrations.py"
_LOOKUPS = "tests/services/test_lookups.py"
_TESTS = "tests/protocol/database/test_database.py"
_BATCHES = "tests/protocol/database/test_database_sources.py"
_NODES = "tests/services/test_node_database.py"
_NETWORK = "tests/protocol/database/test_database_replica.py"
_SHARED = "tests/services/test_liars.py"
_CERTIFIED = "_services/certified.py"
_VOUCHERS = "_protocol/database/vouchers.py"
_NOTARY = "_transport/notary.py"
_ORACLE = "testing/_oracle.py"
_ORACLE_TESTS = "tests/testing/test_testing_oracle.py"
_HAMMER_TESTS = "tests/testing/test_testing_hammer.py"
_RECORDS_TESTS = "tests/services/test_certified_records.py"

DATABASE = (
    Fault(
        "first_copy_counts",
        "the database: of two copies of a record the one that came first counts",
        (Change(_RECORDS, "if best is None or record.version > best.version:", "if best is None:"),),
        ("tests/protocol/database/test_database_records.py::test_a_merge_is_commutative",),
    ),
    Fault(
        "tie_by_order",
        "the database: two states under one version are chosen between by the order in which they came",
        (Change(_RECORDS, "best = max(best, record, key=lambda copy: _canonical(copy.tables))", "best = record"),),
        ("tests/protocol/database/test_database_records.py::test_a_merge_is_commutative",),
    ),
    Fault(
        "least_node_id_wins",
        "the database: the winner is another one than is documented",
        (
            Change(
                _RECORDS,
                "return {key: owners[max(owners)] for key, owners in",
                "return {key: owners[min(owners)] for key, owners in",
            ),
        ),
        ("tests/protocol/database/test_database_records.py::test_the_greatest_node_id_wins_and_the_others_come_back",),
    ),
    Fault(
        "one_is_true",
        "the database: a value that changes from 1 to True is not seen to change",
        (Change(_RECORDS, "return one is other or _canonical(one) == _canonical(other)", "return bool(one == other)"),),
        ("tests/protocol/database/test_database_records.py::test_values_of_different_types_are_not_the_same",),
    ),
    Fault(
        "moving_is_not_counted",
        "the database: a record that has moved is no newer than the copy at the old anchor",
        (Change(_COPIES, "version._replace(attachment=version.attachment + 1)", "version"),),
        (f"{_TESTS}::TestANodeThatMoves::test_that_has_died_elsewhere_does_not_rise_at_its_old_anchor", _NETWORK),
    ),
    Fault(
        "the_dead_rise_at_the_old_anchor",
        "the database: the copy of a node that has moved away is kept, and shows when the node dies elsewhere",
        (Change(_SOURCES, "return said.run == now.run and said.attachment < now.attachment", "return False"),),
        (f"{_TESTS}::TestANodeThatMoves::test_that_has_died_elsewhere_does_not_rise_at_its_old_anchor",),
    ),
    Fault(
        "the_dead_rise_in_a_mirror",
        "the database: an outdated copy of a lost global node shows when the newer one goes",
        (
            Change(
                _COPIES,
                "outdated = (not other.current or leaves) and",
                "outdated = leaves and",
            ),
        ),
        (f"{_TESTS}::TestALostGlobalNode::test_does_not_raise_the_dead",),
    ),
    Fault(
        "no_grace",
        "the database: when a global node is lost the entries of its nodes vanish and come back",
        (Change(_COPIES, "if owner == node_id or self._counting[owner] is not record:", "if True:"),),
        (f"{_TESTS}::TestANodeThatMoves::test_takes_its_entries_along_and_nobody_sees_them_go",),
    ),
    Fault(
        "words_of_before_count",
        "the database: what was sent for a lost connection changes what is known by the new one",
        (Change(_COPIES, "        mirror.current = False\n", ""),),
        (f"{_TESTS}::TestALostGlobalNode::test_says_nothing_of_before_that_counts",),
    ),
    Fault(
        "break_before_make",
        "the database: the anchor of a node that becomes global speaks for it no longer, before it speaks for itself",
        (
            Change(
                _REPLICA,
                "        self._globals[node_id] = None\n        if self.is_global and not",
                "        self._copies._forget_attached(node_id, moved=True)\n        self._told(())\n"
                "        self._globals[node_id] = None\n        if self.is_global and not",
            ),
        ),
        (f"{_TESTS}::TestMakeBeforeBreak::test_who_is_lost_before_it_speaks_for_itself_is_dead",),
    ),
    Fault(
        "moved_is_gone",
        "the database: a node that has moved vanishes until its new copy comes by another way",
        (Change(_COPIES, "messages.moved(owner) if moved else messages.gone(owner)", "messages.gone(owner)"),),
        (f"{_TESTS}::TestMakeBeforeBreak::test_who_moves_unseen_is_seen_all_the_time",),
    ),
    Fault(
        "moved_is_for_ever",
        "the database: the copy of a node that is said to have moved is kept until there is another one, without end",
        (
            Change(
                _COPIES,
                "            for owner in [owner for owner, until in source.leaving.items() if until == token]:\n"
                "                self._drop(source, owner)\n",
                "            pass\n",
            ),
        ),
        (f"{_TESTS}::TestMakeBeforeBreak::test_who_has_moved_to_nowhere_is_kept_for_a_while",),
    ),
    Fault(
        "gone_never_follows",
        "the database: a node of the version before, which ignores `moved`, is never told that it is to drop the copy",
        (Change(_COPIES, "            self.news.append(messages.gone(owner))\n", ""),),
        (f"{_TESTS}::TestMakeBeforeBreak::test_who_does_not_know_moved_hears_gone_later",),
    ),
    Fault(
        "moves_are_forgotten_with_the_connection",
        "the database: a new connection does not say who has moved while there was none",
        (Change(_COPIES, "            if owner in batch.have_moved:", "            if False:"),),
        (f"{_TESTS}::TestMakeBeforeBreak::test_a_new_connection_says_who_has_moved_meanwhile",),
    ),
    Fault(
        "a_new_run_knows_who_lives",
        "the database: a global node that restarts makes all vanish that have not yet attached themselves anew",
        (Change(_COPIES, "elif not (is_new and owner in source.leaving):", "else:"),),
        (f"{_TESTS}::TestMakeBeforeBreak::test_a_new_run_of_a_global_node_does_not_know_who_lives",),
    ),
    Fault(
        "late_words_attach",
        "the database: what was queued while a connection was given back makes an anchor of who is none any more",
        (Change(_REPLICA, "if from_id in self._globals or from_id in self._guests:", "if True:"),),
        (f"{_TESTS}::TestMakeBeforeBreak::test_words_that_have_waited_since_the_connection_before_do_not_attach",),
    ),
    Fault(
        "who_becomes_global_too_is_not_awaited",
        "a node that becomes global reports the end of another one that does so at the same time",
        (Change(_REPLICA, "            self._awaited[node_id] = None\n", "            pass\n"),),
        (f"{_TESTS}::TestWhoBecomesGlobalAndReads::test_misses_nobody_who_becomes_global_at_the_same_time",),
    ),
    Fault(
        "who_has_moved_is_not_awaited",
        "a node that becomes global reports the end of one that has moved and is not connected with it yet",
        (
            Change(
                _REPLICA, "return effects if self._awaited or elsewhere else", "return effects if self._awaited else"
            ),
        ),
        (f"{_TESTS}::TestWhoBecomesGlobalAndReads::test_waits_for_who_has_moved_and_is_not_connected_yet",),
    ),
    Fault(
        "who_is_gone_is_awaited",
        "a node that becomes global waits for one that has moved and of which it hears that it is gone",
        (Change(_COPIES, "self.elsewhere.pop(message.owner, None)", "pass"),),
        (f"{_TESTS}::TestWhoBecomesGlobalAndReads::test_waits_for_who_has_moved_and_is_not_connected_yet",),
    ),
    Fault(
        "the_moved_are_awaited_for_ever",
        "a node that becomes global waits without end for one that has moved and never comes",
        (
            Change(
                _REPLICA,
                "            self._awaited.clear()\n            self._copies.elsewhere.clear()\n",
                "            self._awaited.clear()\n",
            ),
        ),
        (f"{_TESTS}::TestWhoBecomesGlobalAndReads::test_waits_for_who_has_moved_and_is_not_connected_yet",),
    ),
    Fault(
        "reads_before_it_knows",
        "the database: a node that becomes global shows its readers what it holds itself, and takes the rest away",
        (Change(_REPLICA, "        self._awaited = dict.fromkeys(others)\n", "        self._awaited = {}\n"),),
        (f"{_TESTS}::TestWhoBecomesGlobalAndReads::test_keeps_its_tables_until_all_have_said_what_they_speak_for",),
    ),
    Fault(
        "awaits_for_ever",
        "the database: a node that becomes global waits without end for one that cannot be reached",
        (Change(_REPLICA, "            self._awaited.clear()\n", "            pass\n"),),
        (f"{_TESTS}::TestWhoBecomesGlobalAndReads::test_does_not_wait_for_ever",),
    ),
    Fault(
        "batches_only_add",
        "the database: what is not in a new whole batch stays",
        (
            Change(
                _COPIES,
                "elif not (is_new and owner in source.leaving):\n                self._drop",
                "elif False:\n                self._drop",
            ),
        ),
        (f"{_TESTS}::TestALostGlobalNode::test_that_comes_back_says_who_has_gone_meanwhile", _NETWORK),
    ),
    Fault(
        "anybody_speaks_for_anybody",
        "the database: a node that is not global sets entries of others",
        (Change(_COPIES, "if source.attached and owner != source.id:", "if False:"),),
        (f"{_TESTS}::TestWhatCannotBeUsed::test_words_for_others",),
    ),
    Fault(
        "hearsay_counts",
        "the database: what others say of a connected node counts before what itself says",
        (Change(_COPIES, "if source.id == owner and source.current}", "if False}"),),
        (f"{_TESTS}::TestALiar::test_does_not_hide_an_attached_node_from_its_anchor",),
    ),
    Fault(
        "own_record_from_others",
        "the database: what others say of a node counts on that very node",
        (Change(_COPIES, "        if owner == self._own_id:\n            return self._own\n", ""),),
        (f"{_TESTS}::test_what_a_node_says_of_itself_counts_on_it_before_another_run",),
    ),
    Fault(
        "ignored_for_good",
        "the database: an attached node whose copy was dropped at another's word is not asked again",
        (Change(_COPIES, "                self._ask(other, source)\n", "                pass\n"),),
        (f"{_TESTS}::TestALiar::test_does_not_hide_an_attached_node_from_its_anchor",),
    ),
    Fault(
        "late_for_good",
        "the database: a node that attaches is kept out by another's word, and not asked",
        (Change(_COPIES, "                    self._ask(source, other)\n", "                    pass\n"),),
        (f"{_TESTS}::TestALiar::test_that_was_there_first_does_not_keep_a_node_out",),
    ),
    Fault(
        "any_batch_is_an_answer",
        "the database: what an attached node said before it was asked is taken for its answer",
        (Change(_COPIES, "answered = batch.answers != 0 and batch.answers == source.asked", "answered = True"),),
        (f"{_TESTS}::TestALiar::test_with_an_answer_to_another_question_is_not_believed",),
    ),
    Fault(
        "liars_are_heard_again",
        "the database: who was refuted hides a node's entries again and again",
        (Change(_COPIES, "                    source.refuted.add(other.id)\n", "                    return\n"),),
        (f"{_TESTS}::TestALiar::test_is_not_heard_twice",),
    ),
    Fault(
        "another_run_is_not_refuted",
        "the database: a node is hidden from its own anchor by who says that there is a later run of it",
        (Change(_COPIES, " and source.id not in refuted)", ")"),),
        (f"{_TESTS}::TestALiar::test_does_not_hide_it_as_another_run_either",),
    ),
    Fault(
        "answered_and_doubted",
        "the database: who has answered once is not asked when the same node says again that it has moved",
        (Change(_COPIES, "        if answered:\n            source.doubted.clear()\n", ""),),
        (f"{_TESTS}::TestALiar::test_that_has_taken_its_word_back_is_doubted_again",),
    ),
    Fault(
        "questions_without_end",
        "the database: a liar has an attached node asked for all that it has set as often as it likes",
        (Change(_COPIES, "        if other.id in source.doubted:\n", "        if False:\n"),),
        (f"{_TESTS}::TestALiar::test_does_not_hide_it_as_another_run_either",),
    ),
    Fault(
        "anybody_says_where_nodes_are",
        "the database: the key of another node in the family of nodes counts",
        (Change(_RECORDS, "(family not in (NODES, TOOLS) or key == owner)", "True"),),
        (f"{_TESTS}::TestALiar::test_that_is_attached_does_not_say_where_others_listen",),
    ),
    Fault(
        "refused_entries_are_the_next_ones",
        "the database: the entries of a refused record are taken for those of the record before it",
        (
            Change(
                _SOURCES,
                "        self.end_record()\n        self._owner, self._record = owner, Record(version)\n",
                "        self._owner, self._record = owner, self._record or Record(version)\n",
            ),
        ),
        (f"{_TESTS}::TestALiar::test_with_numbers_that_no_node_reaches_is_refused",),
    ),
    Fault(
        "refused_records_are_those_before",
        "the database: of a record that comes twice in a batch, and is refused the second time, the first copy counts",
        (Change(_SOURCES, "        self.records.pop(self._owner, None)\n", ""),),
        (f"{_BATCHES}::test_a_record_that_comes_again_and_is_refused_is_not_the_one_before",),
    ),
    Fault(
        "taken_and_refused",
        "the database: a record that comes twice in a batch, and is taken the second time, is dropped first",
        (Change(_SOURCES, "        self.refused.pop(self._owner, None)\n", ""),),
        (f"{_BATCHES}::test_a_record_that_comes_again_and_is_taken_is_not_refused",),
    ),
    Fault(
        "refused_records_are_changed",
        "the database: what comes for a refused record changes the copy of before",
        (Change(_COPIES, "        for owner in batch.refused:\n", "        for owner in ():\n"),),
        (f"{_TESTS}::TestAVoucher::test_of_another_attachment_is_none_of_this_one",),
    ),
    Fault(
        "vouchers_name_any_anchor",
        "the database: who has seen a voucher speaks for the node that has signed it",
        (Change(_VOUCHERS, "if anchor != from_id:", "if False:"),),
        (f"{_TESTS}::TestAVoucher::test_of_another_is_worth_nothing",),
    ),
    Fault(
        "vouchers_are_for_ever",
        "the database: a voucher is good for every later attachment of its run",
        (Change(_VOUCHERS, "str(version.started), version.incarnation, str(version.attachment), anchor)", "anchor)"),),
        (f"{_TESTS}::TestAVoucher::test_of_another_attachment_is_none_of_this_one",),
    ),
    Fault(
        "own_word_needs_a_voucher",
        "what a node says of itself is refused without a voucher: nobody sees a global node that cannot sign",
        (Change(_CERTIFIED, "if why or from_id == owner or self._notary is None:", "if why or self._notary is None:"),),
        (f"{_RECORDS_TESTS}::test_what_a_node_sets_that_signs_nothing_its_anchor_and_the_guests_of_that_see",),
    ),
    Fault(
        "vouchers_are_not_wanted",
        "the database: a record without a voucher is taken where certificates name nodes",
        (Change(_CERTIFIED, "return check_voucher(from_id, owner, record, self._notary.check)", 'return ""'),),
        (f"{_RECORDS_TESTS}::test_what_nodes_set_all_see_and_no_liar_can_change_it",),
    ),
    Fault(
        "any_certificate_vouches",
        "the database: a member signs vouchers for others with its own certificate",
        (Change(_NOTARY, "if node_id not in node_ids_in(chain[0]):", "if False:"),),
        (
            f"{_RECORDS_TESTS}::test_what_nodes_set_all_see_and_no_liar_can_change_it",
            "tests/transport/test_notary.py::test_each_kind_of_key_signs",
        ),
    ),
    Fault(
        "members_issue_certificates",
        "a node's certificate is taken for that of an authority",
        (Change(_NOTARY, "if not constraints.ca or (", "if ("),),
        ("tests/transport/test_notary.py::test_what_is_no_signature_of_a_node",),
    ),
    Fault(
        "expired_vouchers",
        "a signature with a certificate that has expired is believed",
        (Change(_NOTARY, "if until < self._now():", "if False:"),),
        ("tests/transport/test_notary.py::test_what_is_no_signature_of_a_node",),
    ),
    Fault(
        "vouchers_are_not_renewed",
        "the database: a node whose certificate is replaced shows the voucher of before until it moves",
        (Change(_CERTIFIED, "            renewed()\n", ""),),
        (f"{_RECORDS_TESTS}::test_a_new_certificate_signs_a_new_voucher",),
    ),
    Fault(
        "clocks_are_not_looked_at",
        "the database: a node takes a record of a run that begins years from now",
        (Change(_CERTIFIED, "why = implausible(record.version, self.now())", 'why = ""'),),
        (f"{_SHARED}::test_a_record_from_the_far_future_is_refused_and_the_log_says_so",),
    ),
    Fault(
        "the_others_are_not_told_of_a_death",
        "the database: the entries of a dead node stay at the other global nodes",
        (Change(_COPIES, "messages.moved(owner) if moved else messages.gone(owner)", "messages.moved(owner)"),),
        (f"{_TESTS}::TestWhatIsSet::test_goes_with_its_owner",),
    ),
    Fault(
        "what_was_pulled_outlives_its_connection",
        "the database: a global node is told changes before it has heard the whole by this connection",
        (Change(_REPLICA, "        self._pulled.pop(node_id, None)\n", ""),),
        (f"{_TESTS}::TestALostGlobalNode::test_is_told_nothing_before_it_has_asked_again",),
    ),
    Fault(
        "half_a_table",
        "the database: a part of a table is taken for all of it",
        (Change(_TABLES, "        if not message.last:\n            return\n", ""),),
        (f"{_TESTS}::TestWhatIsSet::test_comes_whole_however_large_it_is",),
    ),
    Fault(
        "tables_of_two_anchors_are_mixed",
        "the database: what comes under the ticket of an earlier anchor counts",
        (
            Change(
                _TABLES,
                "        self._by_ticket.clear()\n        return [self._request(reading)",
                "        return [self._request(reading)",
            ),
        ),
        (f"{_TESTS}::TestANodeThatMoves::test_does_not_mix_what_two_anchors_say",),
    ),
    Fault(
        "registrations_outlive_their_ports",
        "the database: what is registered stays when the port dies",
        (Change(_REGISTRATIONS, "        owned[self] = None\n", ""),),
        (f"{_NODES}::TestARegistration::test_is_in_as_many_families_as_wanted",),
    ),
    Fault(
        "reserved_families_can_be_set",
        "the database: a program may say where other nodes are",
        (Change(_SERVICE, "if family.startswith(RESERVED):", "if False:"),),
        (f"{_NODES}::TestWhatIsSet::test_what_cannot_be_set_is_refused",),
    ),
    Fault(
        "readers_share_the_table",
        "the database: a program that changes what it was given changes the database",
        (Change(_SERVICE, "return copy_table(await self._ask(_readable(name)))", "return await self._ask(name)"),),
        (f"{_NODES}::TestWhatIsSet::test_is_a_snapshot_in_and_out",),
    ),
    Fault(
        "slow_readers_are_not_bounded",
        "the database: what waits for a slow reader grows without bound",
        (Change(_CHANGES, "if self._waiting and self._keys > WATCH_LIMIT:", "if False:"),),
        (f"{_NODES}::TestAWatch::test_tells_a_slow_reader_once_what_it_has_missed",),
    ),
    Fault(
        "late_looks_see_later_tables",
        "the database: who looks late at what a watch has given sees the table of a later change",
        (Change(_CHANGES, "for change in self._changes[:changes]:", "for change in self._changes:"),),
        (f"{_NODES}::TestAWatch::test_gives_each_change_the_table_of_its_time_however_late_it_is_looked_at",),
    ),
    Fault(
        "watches_copy_their_table",
        "the database: each change of a watched family costs a copy of its table",
        (
            Change(
                _CHANGES,
                "        moment = history.append(found)\n",
                "        moment = history.append(found)\n        copy_table(history.now)\n",
            ),
        ),
        (f"{_NODES}::TestAWatch::test_costs_what_a_change_touches",),
    ),
    Fault(
        "watches_keep_the_past",
        "the database: a watch keeps every change that it has ever given",
        (Change(_CHANGES, "if self._keys <= max(len(self._first), _SHORT):", "if True:"),),
        (f"{_NODES}::TestAWatch::test_keeps_no_more_of_the_past_than_the_table_is_large",),
    ),
    Fault(
        "slow_readers_are_not_told",
        "the database: a slow reader misses changes, and does not hear of it",
        (Change(_CHANGES, "self._keys, self._missed = 0, True", "self._keys = 0"),),
        (f"{_NODES}::TestAWatch::test_tells_a_slow_reader_once_what_it_has_missed",),
        hangs=True,
    ),
    Fault(
        "a_lie_excuses_all",
        "the oracle: when a member lies about one node, it judges the deletion of no node any more",
        (Change(_ORACLE, "any(about == node_id and self._now() <= until for", "any(self._now() <= until for"),),
        (
            f"{_ORACLE_TESTS}::test_a_node_of_which_a_member_lies_may_be_said_to_be_gone_but_no_other",
            f"{_HAMMER_TESTS}::test_a_node_of_which_a_global_node_lies_may_be_said_to_be_gone",
        ),
    ),
    Fault(
        "a_lie_excuses_for_ever",
        "the oracle: a lie excuses the deletion of a node also when nobody can believe it any more",
        (Change(_ORACLE, "= min(until, self._now() + self.bounds.forgotten)", "= until"),),
        (
            f"{_ORACLE_TESTS}::test_lies_are_forgotten_some_time_after_the_end_of_the_liar",
            f"{_HAMMER_TESTS}::test_a_node_of_which_a_global_node_lies_may_be_said_to_be_gone",
        ),
    ),
    Fault(
        "entry_gone_with_a_connection",
        "the database: a lost connection deletes the entry of another node's port",
        (Change(_REGISTRATIONS, "if not is_doubtful(reason, self._node_id):", "if True:"),),
        (f"{_LOOKUPS}::test_an_entry_outlives_a_lost_connection_and_not_the_port",),
    ),
    Fault(
        "entry_without_a_second_monitor",
        "the database: after a lost connection nobody learns that the port of an entry has died",
        (
            Change(
                _REGISTRATIONS,
                "self._runtime.lifecycle.start_system_task(self._monitor_again, self._waiting)",
                "pass",
            ),
        ),
        (f"{_LOOKUPS}::test_an_entry_ends_with_the_run_of_the_ports_node",),
    ),
    Fault(
        "released_entry_still_watched",
        "the database: an entry that was set over goes with the other node's port that had it before",
        (Change(_REGISTRATIONS, "        self._monitor.cancel()\n", "        pass\n"),),
        (f"{_LOOKUPS}::TestAPortOfAnotherNode::test_is_registered_until_it_dies",),
    ),
    Fault(
        "cache_forgets_the_followed",
        "the database: what a node follows is not known to it",
        (Change(_REPLICA, "{**held, **self._views.known(family)}", "held"),),
        (f"{_LOOKUPS}::TestWhatIsKnownHere::test_is_what_is_followed_elsewhere",),
    ),
    Fault(
        "families_made_up",
        "the database: a global node that cannot list families is taken to have none",
        (Change(_SERVICE, "if NODES not in names:", "if False:"),),
        (f"{_LOOKUPS}::TestTheNamesOfFamilies::test_are_not_made_up_where_the_global_node_cannot_say_them",),
    ),
    Fault(
        "watched_first_table_ends_the_wait",
        "the database: a wait for the first entry ends with an empty table",
        (Change(_SERVICE, "                if change.added:\n", "                if True:\n"),),
        (f"{_LOOKUPS}::TestWaiting::test_ends_with_the_first_entry",),
    ),
)
