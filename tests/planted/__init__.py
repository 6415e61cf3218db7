"""Planted faults: the package is broken on purpose, one line at a time, and the tests must notice.

`fault` says what one is, `faults` is the table of them, `trial` breaks a copy of the package and runs the tests against
it, `guard` is what pytest loads there. `drawn` does the same with faults that a mutation tool makes up.

    PYTHONPATH=tests python -m planted [NAME …] [--jobs 2]
"""
