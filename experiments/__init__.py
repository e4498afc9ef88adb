"""Everything that makes a stored number: `python -m experiments.NAME --help`.

Results go to ganlib/assets/experiments, each with the commit and the state of the code
that made it; `python -m experiments.stale` lists those whose code has changed since.
"""
