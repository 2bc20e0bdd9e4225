"""All faults and attacks that there are tools for, in one run and one table: `make torture`.

    python -m tests.tools.torture --minutes 10            all campaigns, as long as that together
    python -m tests.tools.torture NAME... --seed 7        those campaigns, from that seed on
    python -m tests.tools.torture NAME --seed 7 --runs 1  one run again

A campaign (`campaigns.py`) is a function from a seed to the `Tally` of one run. Each is given its share of the time in
a process of its own (`one.py`), and begins anew as long as there is time; at least one run is made of each.
"""
