"""Faults in what nodes take from outside: who decides, which node takes an ID, and whose file is believed."""

from __future__ import annotations

from .fault import Change, Fault

_SOURCES = "_profiles/sources.py"
_DOCUMENT = "_profiles/document.py"
_GATHERING = "_profiles/gathering.py"
_FINDING = "_profiles/finding.py"
_VARIABLES = "_profiles/variables.py"
_OUTSIDE = "_node/outside.py"
_MERGING = "tests/profiles/test_merging.py"
_DOCUMENTS = "tests/profiles/test_documents.py"
_FILES = "tests/profiles/test_finding.py"
_NODES = "tests/node/test_outside.py"
_SERVICES = "tests/node/test_services.py"
_SECRETS = "_peers/secret_file.py"
_ROTATION = "tests/peers/test_secret_file.py"
_EDITING = "tests/profiles/test_editing.py"
_COMMAND = "tests/programs/test_profile_command.py"

PROFILES = (
    Fault(
        "program_decides",
        "an argument of the program wins over the person who deploys it",
        (
            Change(
                _SOURCES,
                "            elif subject in decided:\n",
                "            elif subject in decided and not from_program:\n",
            ),
        ),
        (f"{_MERGING}::test_the_first_layer_that_gives_a_setting_decides",),
    ),
    Fault(
        "fixed_changes",
        "a setting that the program has fixed is changed from outside",
        (Change(_GATHERING, '**dict.fromkeys(self.fixed, "the program has fixed it"), ', ""),),
        (f"{_MERGING}::test_what_is_fixed_cannot_be_changed_and_that_is_said",),
    ),
    Fault(
        "bare_node_joins",
        "a bare open_node() reads the file, and joins the network that is configured there",
        (
            Change(
                _GATHERING,
                "if request.wants_network or any(environ.get(variable) for variable in NETWORK):",
                "if True:",
            ),
        ),
        (
            f"{_MERGING}::test_without_a_wish_for_a_network_the_file_is_not_even_read",
            f"{_NODES}::test_a_bare_node_stays_local_whatever_the_file_says",
        ),
    ),
    Fault(
        "parents_in_a_circle",
        "parents that run in a circle are followed for ever",
        (Change(_DOCUMENT, "            if parent in chain:\n", "            if False:\n"),),
        (f"{_DOCUMENTS}::test_an_error_names_the_file_the_key_and_the_reason",),
        hangs=True,
    ),
    Fault(
        "parent_before_child",
        "what the parent of a profile says wins over the profile",
        (Change(_DOCUMENT, "for name in chain]", "for name in reversed(chain)]"),),
        (f"{_MERGING}::test_who_deploys_decides_in_this_order",),
    ),
    Fault(
        "readable_secret",
        "a secret in a file that others may read is used",
        (Change(_DOCUMENT, 'if name == "secret" and self.mode is not None:', "if False:"),),
        (f"{_DOCUMENTS}::test_a_secret_that_others_may_read_is_refused_with_the_command_that_mends_it",),
    ),
    Fault(
        "file_of_everybody",
        "a file that everybody can change says which code runs",
        (Change(_FINDING, "if mode & stat.S_IWOTH:", "if False:"),),
        (f"{_FILES}::test_a_file_that_everybody_can_change_is_refused",),
    ),
    Fault(
        "missing_file_ignored",
        "the file that TRIO_MP_CONFIG names does not exist, and nobody is told",
        (
            Change(
                _FINDING, "        if environ.get(CONFIG):\n            raise", "        if False:\n            raise"
            ),
        ),
        (f"{_FILES}::test_a_file_that_was_named_must_exist",),
    ),
    Fault(
        "every_node_first",
        "a second node of the process takes the node ID and the binds of the first",
        (Change(_OUTSIDE, "        if not first:\n", "        if False:\n"),),
        (f"{_NODES}::test_only_the_first_node_takes_an_id_and_binds_from_outside",),
    ),
    Fault(
        "first_for_ever",
        "a node that is opened again gets another ID than before",
        (Change("_profiles/first.py", "            if succeeded:\n", "            if False:\n"),),
        (f"{_NODES}::test_only_the_first_node_takes_an_id_and_binds_from_outside",),
    ),
    Fault(
        "services_run_twice",
        "the second node of a process runs the services of the configuration once more",
        (
            Change(
                _GATHERING,
                'ONCE = ("node_id", "binds", "advertise", "services", ',
                'ONCE = ("node_id", "binds", "advertise", ',
            ),
        ),
        (f"{_SERVICES}::test_a_profile_names_services",),
    ),
    Fault(
        "service_not_started",
        "a service that is async is never started",
        (Change("_node/services.py", "port = node.start_port(_serve, node, service)", "port = node.port()"),),
        (f"{_SERVICES}::test_an_async_service_is_the_task_of_a_port_and_ends_with_the_node",),
        hangs=True,
    ),
    Fault(
        "service_found_late",
        "a service that does not exist is noticed when others run already",
        (
            Change(
                "_node/opening.py",
                "services = find_services(checked.services)\n",
                "services = ()  # type: ignore\n",
            ),
            Change(
                "_node/opening.py",
                "start_services(node, services)\n",
                "[start_services(node, find_services([one])) for one in checked.services]\n",
            ),
            Change("_node/outside.py", "        find_services(found.services)\n", ""),
        ),
        (f"{_SERVICES}::test_a_service_that_cannot_be_found_is_refused_before_anything_runs",),
    ),
    Fault(
        "secret_and_file",
        "who deploys gives a file with secrets, and the secret of the program counts, too",
        (Change(_SOURCES, 'return "secret" if name == "secret_file" else name', "return name"),),
        (f"{_MERGING}::test_who_gives_a_secret_decides_about_the_file_with_secrets_too",),
    ),
    Fault(
        "secret_never_read_again",
        "a secret that was replaced in its file is not replaced in the network",
        (Change(_SECRETS, "            self._user.use_secrets(found)\n", ""),),
        (f"{_ROTATION}::test_a_change_is_in_force_soon_and_said",),
    ),
    Fault(
        "half_a_secret",
        "a file that somebody is writing is believed",
        (Change(_SECRETS, "if await self._in_thread(self._read) != found:", "if False:"),),
        (f"{_ROTATION}::test_half_a_file_is_not_believed",),
    ),
    Fault(
        "bad_file_ends_the_node",
        "a file with secrets that cannot be read ends the network of its node",
        (
            Change(
                _SECRETS,
                "        except ConfigurationError as error:\n            return str(error)",
                "        finally:\n            pass",
            ),
        ),
        (f"{_ROTATION}::test_a_bad_file_leaves_a_warning_and_the_old_secrets",),
    ),
    Fault(
        "bad_file_in_silence",
        "a file with secrets cannot be used, and nobody is told",
        (Change(_SECRETS, 'log.warning("%s; the secrets', 'log.debug("%s; the secrets'),),
        (f"{_ROTATION}::test_a_bad_file_leaves_a_warning_and_the_old_secrets",),
    ),
    Fault(
        "bad_file_again_and_again",
        "a file that cannot be used fills the log",
        (Change(_SECRETS, "return found != self._complained", "return True"),),
        (f"{_ROTATION}::test_a_bad_file_leaves_a_warning_and_the_old_secrets",),
    ),
    Fault(
        "child_gets_the_old_secret",
        "a process gets the secrets with which its parent began, and cannot join once they are replaced",
        (Change("_supervision/processes.py", "secrets=network.secrets,", "secrets=settings.secret,"),),
        (f"{_ROTATION}::test_a_child_gets_the_secrets_that_are_in_force",),
    ),
    Fault(
        "wrong_settings_written",
        "a command writes settings that no node accepts",
        (
            Change(
                "cli/profile.py",
                "        document.layers(None if parsed.name == DEFAULT else parsed.name)\n",
                "        pass\n",
            ),
        ),
        (f"{_COMMAND}::test_what_cannot_work_is_one_line_and_changes_nothing",),
    ),
    Fault(
        "secret_shown",
        "the settings that a node would take are shown with the secret",
        (Change("cli/profile.py", 'HIDDEN if setting == "secret" else _in_short', "_in_short"),),
        (f"{_COMMAND}::test_effective_settings_and_where_they_are_from",),
    ),
    Fault(
        "permissions_lost",
        "a file that is changed gets other permissions",
        (Change("cli/files.py", "        Path(temporary).chmod(mode)\n", ""),),
        (f"{_COMMAND}::test_permissions_and_links_stay",),
    ),
    Fault(
        "comments_taken",
        "the comment on a profile becomes one of the profile before it",
        (Change("_profiles/editing.py", "        if new:\n", "        if False:\n"),),
        (f"{_EDITING}::test_what_is_new_stands_behind_the_settings_of_its_table_and_before_the_comments_of_the_next",),
    ),
    Fault(
        "child_takes_the_parents_id",
        "a process that a node has launched takes settings from the environment, which is its parent's",
        (Change("_node/child.py", "open_node(node_id, profile=False, context=", "open_node(node_id, context="),),
        (f"{_NODES}::test_a_child_takes_nothing_of_its_parents_environment",),
    ),
    Fault(
        "misspelt_in_silence",
        "a variable with a misspelt name has no effect, and nobody is told",
        (Change(_VARIABLES, "found += [f", "found = found or [] and [f"),),
        (f"{_NODES}::test_a_misspelt_variable_is_a_warning",),
    ),
    Fault(
        "places_not_named",
        "two settings from different places contradict each other, and the error does not say where they are",
        (Change(_OUTSIDE, "{error}{merged.sources_in(str(error))}", "{error}"),),
        (f"{_NODES}::test_settings_that_contradict_each_other_are_named_with_their_places",),
    ),
)
