"""The settings that a node takes from outside its program: from the environment, and from profiles in a file.

The file, of TOML, stands in the configuration folder of the platform; `finding.py` says where::

    use = "worker"                      # the profile of programs that name none

    [default]                           # holds for all profiles
    seeds = ["seed.example:4040"]
    heartbeat = 2

    [profile.worker]
    spawn_modules = ["app.jobs"]

    [profile.ruth]
    parent = "worker"                   # what ruth does not say, worker says
    node_id = "ruth"

and the program is `async with open_node(profile=True) as node`, or names its profile: `open_node(profile="ruth")`.

The first of these that gives a setting decides, because the person who deploys a program decides: the command line, the
variables `TRIO_MP_…`, the profile, its parents, `[default]`, and then the program's arguments. Lists replace.

Each module but two is pure: `finding.py` reads the file, and `first.py` knows which node of the process was first.
"""
