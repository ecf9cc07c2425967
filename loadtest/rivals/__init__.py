"""Ways to decide whether a stored answer serves, each replayed over the same streams of questions (`loadtest.comparison`).

`streams` makes the streams, `replay` runs one contender over one of them, the other modules hold a contender each, `intervals` says how
sure a measured number is, and `report` and `picture` show them. None of it is used by the proxy.
"""
