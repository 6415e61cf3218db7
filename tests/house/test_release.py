"""What a release says of itself is said once, and agrees with the source: version, extras, addresses, changes.

These tests read the source of the checkout. Each check is shown to fail on something that is broken.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from doc_pages import pieces_of

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


IMPORTED_AS = {"dnspython": "dns"}
"""The names by which packages are imported that have another name than their distribution."""


def name_of(requirement: str) -> str:
    """The package that a requirement is about, by the name by which it is imported."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None, requirement
    name = found[0].lower().replace("-", "_")
    return IMPORTED_AS.get(name, name)


def imported_by(files: list[Path]) -> set[str]:
    """The packages from elsewhere that these modules import, in functions too. `_typeshed` is there for types alone."""
    names: set[str] = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add((node.module or "").partition(".")[0])
    return names - sys.stdlib_module_names - {"_typeshed", "trio_mp"}


def wrong_requirements(project: dict[str, Any], imported: set[str]) -> list[str]:
    """What the package imports and does not require, requires and does not import, and what `test` lacks of extras."""
    extras: dict[str, list[str]] = project["project"]["optional-dependencies"]
    optional = [requirement for requirements in extras.values() for requirement in requirements]
    required = {name_of(each) for each in [*project["project"]["dependencies"], *optional]}
    tested = {each for each in project["dependency-groups"]["test"] if isinstance(each, str)}
    return [
        *(f"expected a requirement or an extra for {name}, got none" for name in sorted(imported - required)),
        *(f"expected an import of {name}, got none" for name in sorted(required - imported)),
        *(f"expected {each} of an extra in the group `test`, too" for each in sorted(set(optional) - tested)),
    ]


OUTSIDE = {"trio", "msgspec", "cryptography", "rich", "tomlkit", "dns", "pytest", "pytest_trio"}
"""pytest and pytest-trio are imported by the plugin, which only they load."""


def test_dependencies_and_extras_are_those_that_the_package_imports() -> None:
    imported = imported_by(sorted((ROOT / "trio_mp").rglob("*.py")))
    assert imported <= OUTSIDE
    assert wrong_requirements(PROJECT, imported - {"pytest", "pytest_trio"}) == []


@pytest.mark.parametrize(
    "extra, imported, said",
    [
        ([], {"trio", "rich"}, "expected a requirement or an extra for rich, got none"),
        (["rich>=13"], {"trio"}, "expected an import of rich, got none"),
        (["rich>=13"], {"trio", "rich"}, None),
        (["Rich>=14"], {"trio", "rich"}, "expected Rich>=14 of an extra in the group `test`, too"),
    ],
)
def test_a_wrong_extra_is_found(extra: list[str], imported: set[str], said: str | None) -> None:
    project = {
        "project": {"dependencies": ["trio>=0.28"], "optional-dependencies": {"cli": extra}},
        "dependency-groups": {"test": ["rich>=13"]},
    }
    assert wrong_requirements(project, imported) == ([said] if said else [])


# The version ----------------------------------------------------------------------------------------------------------


def versions_in(text: str, version: str) -> list[str]:
    """The lines of a module or a table that say the version as a text of their own."""
    return [line.strip() for line in text.splitlines() if re.search(rf"""["']{re.escape(version)}["']""", line)]


def test_the_version_is_said_in_one_place() -> None:
    code = "import trio_mp; print(trio_mp.__version__); print('trio' in __import__('sys').modules)"
    run = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    version, loads_trio = run.stdout.split()
    assert loads_trio == "False"
    files = [*(ROOT / "trio_mp").rglob("*.py"), ROOT / "docs" / "conf.py", ROOT / "pyproject.toml"]
    said = {path.relative_to(ROOT).as_posix(): versions_in(path.read_text("utf-8"), version) for path in files}
    assert {path: lines for path, lines in said.items() if lines} == {
        "trio_mp/_version.py": [f'VERSION = "{version}"'],
    }
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "trio_mp/_version.py"


@pytest.mark.parametrize("text, count", [("release = '0.1.0'", 1), ('version = "0.1.0"', 1), ("trio>=0.1.0", 0)])
def test_a_second_version_is_found(text: str, count: int) -> None:
    assert len(versions_in(text, "0.1.0")) == count


# Addresses ------------------------------------------------------------------------------------------------------------


def strange_addresses(text: str, urls: dict[str, str]) -> list[str]:
    """The addresses of this project in a text that are none of those in pyproject.toml, nor below one of them."""
    found = re.findall(r"https://[^\s<>()\"'`\]]*trio[-_]mp[^\s<>()\"'`\]]*", text)
    known = tuple(f"{url.rstrip('/')}/" for url in urls.values())
    return [each for each in found if not f"{each.rstrip('/.,')}/".startswith(known)]


TEXTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
    *(path for path in (ROOT / ".github").rglob("*.*") if path.is_file()),
]


def test_addresses_of_the_project_are_those_that_pyproject_names() -> None:
    urls = PROJECT["project"]["urls"]
    known = urls | {"Package": f"https://pypi.org/project/{PROJECT['project']['name']}/"}
    assert {"Homepage", "Documentation", "Changelog", "Issues", "Security", "Source"} <= set(urls)
    said = {path.relative_to(ROOT).as_posix(): strange_addresses(path.read_text("utf-8"), known) for path in TEXTS}
    assert not {path: found for path, found in said.items() if found}


@pytest.mark.parametrize(
    "text, count",
    [
        ("[x](https://example.org/trio_mp/issues/new) and https://example.org/trio_mp.", 0),
        ("see <https://example.org/trio-mp>", 1),
        ("https://trio.readthedocs.io", 0),
    ],
)
def test_another_address_is_found(text: str, count: int) -> None:
    assert len(strange_addresses(text, {"Homepage": "https://example.org/trio_mp"})) == count


# The links of README --------------------------------------------------------------------------------------------------


def headings_of(page: str) -> set[str]:
    """The headings of a page, as the fragments that lead to them."""
    found = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def wrong_links(text: str, urls: dict[str, str], root: Path) -> list[str]:
    """The links that lead nowhere from where a text is read: at PyPI, where there is nothing beside it.

    Args:
      text: the text, in Markdown.
      urls: those of pyproject.toml.
      root: the checkout, in which the pages and files are to which links lead.
    """
    text = "\n".join(piece.text for piece in pieces_of(text) if piece.kind == "prose")
    text = re.sub(r"`[^`]*`", "", text)
    definition = re.compile(r"^\[([^\]]+)\]: (\S+)$", re.MULTILINE)
    defined, text = dict(definition.findall(text)), definition.sub("", text)
    used = [second or first for first, second in re.findall(r"\[([^\]]+)\](?:\[([^\]]+)\]|(?![\[(]))", text)]
    wrong = [f"[{name}] is not defined" for name in used if name not in defined]
    wrong += [f"[{name}] is not used" for name in defined if name not in used]
    for target in (*defined.values(), *re.findall(r"\]\(([^)]+)\)", text)):
        page = re.fullmatch(re.escape(urls["Documentation"]) + r"/en/latest/([\w-]+)\.html(?:#([\w-]+))?", target)
        file = re.fullmatch(re.escape(urls["Source"]) + r"/(?:blob|raw)/main/(\S+)", target)
        if page is not None:
            path = root / "docs" / f"{page[1]}.md"
            if not path.is_file() or (page[2] and page[2] not in headings_of(path.read_text(encoding="utf-8"))):
                wrong.append(target)
        elif not (target.startswith("https://") if file is None else (root / file[1]).is_file()):
            wrong.append(target)
    return wrong


def test_the_links_of_the_readme_lead_somewhere_from_anywhere() -> None:
    assert wrong_links((ROOT / "README.md").read_text(encoding="utf-8"), PROJECT["project"]["urls"], ROOT) == []


@pytest.mark.parametrize(
    "text, said",
    [
        ("[x](https://docs.example/en/latest/a.html#a-b) and [y](https://source.example/blob/main/docs/a.md)", []),
        ("[x](docs/a.md)", ["docs/a.md"]),
        ("[x](https://docs.example/en/latest/b.html)", ["https://docs.example/en/latest/b.html"]),
        ("[x](https://docs.example/en/latest/a.html#c)", ["https://docs.example/en/latest/a.html#c"]),
        ("![x](https://source.example/raw/main/b.svg)", ["https://source.example/raw/main/b.svg"]),
        ("[x] and [y][x]\n\n[x]: https://other.example\n", []),
        ("[y][x]\n", ["[x] is not defined"]),
        ("[x]: https://other.example\n", ["[x] is not used"]),
        ("[x]\n\n[x]: docs/a.md\n", ["docs/a.md"]),
    ],
)
def test_a_wrong_link_is_found(text: str, said: list[str], tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# A: `b`\n", encoding="utf-8")
    urls = {"Documentation": "https://docs.example", "Source": "https://source.example"}
    assert wrong_links(text, urls, tmp_path) == said


# Changes --------------------------------------------------------------------------------------------------------------


def wrong_fragments(fragments: dict[str, str], kinds: set[str]) -> list[str]:
    """The fragments of the changelog that towncrier would leave out, or would print as something else than a change."""
    wrong: list[str] = []
    for name, text in sorted(fragments.items()):
        match = re.fullmatch(r"\+[a-z0-9-]+\.([a-z]+)\.md", name)
        if match is None or match[1] not in kinds:
            wrong.append(f"changes/{name}: expected +NAME.KIND.md, with a kind of {', '.join(sorted(kinds))}")
        if not re.match(r"[^\s#*-]", text) or not text.endswith("\n") or "\n\n" in text:
            wrong.append(f"changes/{name}: expected one paragraph of text and a line feed")
    return wrong


KINDS = {each["directory"] for each in PROJECT["tool"]["towncrier"]["type"]}


def test_fragments_of_the_changelog() -> None:
    files = [path for path in (ROOT / "changes").glob("*") if path.name != ".gitkeep"]
    assert wrong_fragments({path.name: path.read_text(encoding="utf-8") for path in files}, KINDS) == []
    assert PROJECT["tool"]["towncrier"]["start_string"] in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name, text, count",
    [
        ("+more.added.md", "There is\nmore.\n", 0),
        ("more.added.md", "There is more.\n", 1),
        ("+more.feature.md", "There is more.\n", 1),
        ("+more.md", "There is more.\n", 1),
        ("+more.added.md", "- There is more.\n", 1),
        ("+more.added.md", "There is.\n\nMore.\n", 1),
        ("+more.added.md", "", 1),
    ],
)
def test_a_wrong_fragment_is_found(name: str, text: str, count: int) -> None:
    assert len(wrong_fragments({name: text}, {"added", "fixed"})) == count
