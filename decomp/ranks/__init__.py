"""Ranks: what they do together, the messages between them, their clock.

Read `team` (one interface for one process and for many), then `mpi`, then `workers` (the root asks,
the others serve); `clock_decisions` holds what clock and signals have cut short.
"""
