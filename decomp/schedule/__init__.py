"""The Lagrangian heuristic: from prices to a complete schedule.

Read `dive` (fix jobs, decided and wide ones first), `place` (other work around them), `finish` (integral dispatch of
every site), then `redispatch` and `carbon`; `incumbent` is what comes out.
"""
