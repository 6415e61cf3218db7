"""Compare what builds have made: `python distributions.py FOLDER FOLDER …`, each with one sdist, one wheel or both.

With `--tag v1.2.3 FOLDER` it looks whether a folder has what that tag promises: sdist and wheel of that version, with
the changes of that version in the changelog, and no fragment of a change that is still to be put there.

Two builds of the same source must be the same bytes, or nobody can tell whether a release was built from its tag. The
sdist holds what somebody needs to build, test and document the package; the wheel holds the package and nothing else.
Exit status 1, with a line for each thing that is wrong.
"""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from pathlib import Path

IN_SDIST = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "PKG-INFO",
    "README.md",
    "SECURITY.md",
    "docs/conf.py",
    "noxfile.py",
    "pyproject.toml",
    "tests/conftest.py",
    "trio_mp/__init__.py",
    "trio_mp/py.typed",
)
IN_WHEEL = ("trio_mp/__init__.py", "trio_mp/_version.py", "trio_mp/py.typed", "trio_mp/testing/__init__.py")
OF_A_WHEEL = re.compile(r"trio_mp/.+\.py|trio_mp/py\.typed|trio_mp-[^/]+\.dist-info/.+")
BY_MISTAKE = re.compile(r"(^|/)(__pycache__|\.git|\.nox|\.hypothesis|\.\w+_cache|\.venv|dist)/|\.pyc$")
"""What a build takes along by mistake, in a checkout in which somebody works."""


def names_in(path: Path) -> list[str]:
    """The files in a wheel, or in an sdist below its one folder."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return wheel.namelist()
    with tarfile.open(path) as sdist:
        return [member.name.partition("/")[2] for member in sdist if member.isfile()]


def wrong_contents(path: Path) -> list[str]:
    """What is missing in an sdist or a wheel, and what ought not to be in it."""
    names = names_in(path)
    is_wheel = path.suffix == ".whl"
    needed = IN_WHEEL if is_wheel else IN_SDIST
    strange = [name for name in names if BY_MISTAKE.search(name) or (is_wheel and not OF_A_WHEEL.fullmatch(name))]
    return [
        *(f"{path}: expected {name}, got no such file" for name in needed if name not in names),
        *(f"{path}: expected nothing like {name}, got it" for name in strange),
    ]


def differences(folders: list[Path]) -> list[str]:
    """What is not the same in all folders that have it; and the folders in which there is nothing to compare."""
    found = {folder: sorted([*folder.glob("*.whl"), *folder.glob("*.tar.gz")]) for folder in folders}
    wrong = [f"{folder}: expected an sdist or a wheel, got neither" for folder, files in found.items() if not files]
    first: dict[str, Path] = {}
    compared = 0
    for path in (path for files in found.values() for path in files):
        other = first.setdefault(path.suffix, path)
        if other is path:
            continue
        compared += 1
        if other.name != path.name:
            wrong.append(f"expected the name of {other}, got {path}")
        elif other.read_bytes() != path.read_bytes():
            wrong.append(f"expected the bytes of {other}, got others in {path}")
    return wrong or ([] if compared else ["expected two builds to compare, got one"])


def wrong_release(tag: str, folder: Path) -> list[str]:
    """What keeps the files in a folder from being the release that a tag names."""
    version = tag.removeprefix("v")
    if not re.fullmatch(r"v\d+(\.\d+)+((a|b|rc)\d+)?", tag):
        return [f"expected a tag such as v1.2.3, got {tag}"]
    sdist, wheel = folder / f"trio_mp-{version}.tar.gz", folder / f"trio_mp-{version}-py3-none-any.whl"
    missing = [f"expected {path} for the tag {tag}, got no such file" for path in (sdist, wheel) if not path.exists()]
    if missing:
        return missing
    with tarfile.open(sdist) as opened:
        member = opened.extractfile(f"trio_mp-{version}/CHANGELOG.md")
        changes = member.read().decode() if member is not None else ""
    waiting = [name for name in names_in(sdist) if re.match(r"changes/.+\.md", name)]
    unsaid = f"\n## {version} (" not in changes
    return [
        *([f"{sdist}: expected the changes of {version} in CHANGELOG.md, got none"] if unsaid else []),
        *(f"{sdist}: expected no fragment of a change, got {name}: run towncrier build" for name in waiting),
    ]


def main(arguments: list[str]) -> int:
    """Check all that builds have made; returns the exit status."""
    if arguments[:1] == ["--tag"]:
        wrong = wrong_release(arguments[1], Path(arguments[2]))
        print("\n".join(wrong) or f"{arguments[1]}: the files, the version and the changelog agree")
        return 1 if wrong else 0
    folders = [Path(argument) for argument in arguments]
    files = [path for folder in folders for path in sorted([*folder.glob("*.whl"), *folder.glob("*.tar.gz")])]
    wrong = [*differences(folders), *(each for path in files for each in wrong_contents(path))]
    for each in wrong:
        print(each)
    if not wrong:
        print(f"the same, and complete: {', '.join(sorted({path.name for path in files}))}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
