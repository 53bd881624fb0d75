"""The energy problem of one site.

Read `equations` (the rows), then `relaxation` (the same in few rows), then `oracle` (solved at prices, kept
warm); `service` is what ranks are asked about their sites, `faults` what can be wrong with an answer.
"""
