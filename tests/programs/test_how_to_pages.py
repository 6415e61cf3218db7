"""The pages that show a task in a terminal: each command on them runs, and prints what stands there."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

import pytest
from console_pages import agree, open_console_page, steps_of

from trio_mp._transport import issuing
from trio_mp._transport.certificates import utc_now

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX, and Unix sockets")

PAGES = ("docs/secrets.md", "docs/back-pressure.md", "docs/debugging.md")


def make_expired_certificate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the certificate of docs/debugging.md, by the command's own code and the clock of 400 days ago."""
    now = utc_now() - datetime.timedelta(days=400)
    with monkeypatch.context() as past:
        past.setattr(issuing, "utc_now", lambda: now)
        authority, key = folder / "last.pem", folder / "last.key"
        issuing.make_authority(authority, key)
        issuing.make_certificate("w1", folder / "old.pem", folder / "old.key", authority=authority, authority_key=key)


@pytest.mark.usefixtures("require_tcp")
@pytest.mark.parametrize("page", PAGES)
async def test_the_page_runs(page: str, short_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_expired_certificate(short_directory, monkeypatch)
    async with open_console_page(page, short_directory) as console:
        await console.run()
        # The page ends what it starts, as its reader should.
        assert not console.terminals


@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_read_whole(page: str) -> None:
    steps = list(steps_of(page))
    assert len([step for step in steps if step.command.startswith("trio-mp ")]) >= 3
    named = {step.terminal for step in steps if step.command}
    assert {step.terminal or step.ends or step.silent for step in steps} <= named


@pytest.mark.parametrize(
    "page, printed, same",
    [
        ("w1#Cnj8G34J.E337aUcA5HO2JE-K: too: slow", "w1#AAAAAAAA.AAAAAAAAAAAAAAA_: too: slow", True),
        ("w1#Cnj8G34J.E337aUcA5HO2JE-K: too: slow", "w2#AAAAAAAA.AAAAAAAAAAAAAAA_: too: fast", False),
        ("w1 answered after 0.9 ms", "w1 answered after 12.25 ms", True),
        ("w1 answered after 0.9 ms", "w2 answered after 0.9 ms", False),
        ("18:04:07.031 seed INFO    a.b: 2 secrets", "09:59:07.999 seed INFO a.b: 2 secrets", True),
        ("18:04:07.031 seed INFO    a.b: 2 secrets", "09:59:07.999 seed INFO a.b: 1 secrets", False),
        ("expires: 2027-02-20 18:06 UTC (in 89 days)", "expires: 2031-12-01 00:00 UTC (in 90 days)", True),
        ("node  kind  addresses\n─────────────────────", "node  kind    addresses\n───────────────────────────", True),
        ("nobody: no answer within …; try again", "nobody: no answer within 10 s; try again", True),
        ("w1  guest  0 B  30 s", "w1  guest  0 B  1 min 12 s", True),
        ("lost: 100", "lost: 99", False),
        ("one", "one\ntwo", False),
    ],
)
def test_what_counts_as_the_same(page: str, printed: str, same: bool) -> None:
    assert agree(page.splitlines(), printed.splitlines()) == same
