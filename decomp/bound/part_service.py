"""The parts of proximal masters on the first ranks, and how the root calls their methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from decomp.bound.master_part import MasterPart
from decomp.ranks.workers import Service, Workers


@dataclass(frozen=True)
class PartOrder:
    """A call of a method of a rank's part of a master.

    `gone` : masters whose parts are not needed any more. `at` : how many exchanges there were before. `answered` : of
    so many ranks, the first ones, the root wants what the method returns; 0: of none.
    """

    master: int
    method: str
    arguments: tuple[Any, ...]
    gone: list[int]
    at: int
    answered: int


class PartService(Service):
    """This rank's parts of all masters; `forgotten`: numbers of masters that no longer exist, whose parts are to go."""

    def __init__(self, workers: Workers) -> None:
        super().__init__(workers)
        self.parts: dict[int, MasterPart] = {}
        self.forgotten: list[int] = []

    def call(self, master: int, method: str, each: Sequence[tuple[Any, ...]], answered: int | None = None) -> list[Any]:
        """Call a method of the first ranks' parts of a master, with arguments for each; what they return. Root only.

        `answered` : what so many return, the first ones, is all that is wanted; nobody waits for the others. One part
        is the root's own, and no other rank hears of it.
        """
        return self._order(master, method, each, len(each) if answered is None else answered) or []

    def tell(self, master: int, method: str, each: Sequence[tuple[Any, ...]]) -> None:
        """As `call` for a method that returns nothing, for which nobody waits. "found" makes the parts."""
        self._order(master, method, each, 0)

    def _order(self, master: int, method: str, each: Sequence[tuple[Any, ...]], answered: int) -> list[Any] | None:
        if len(each) == 1:
            for number in self.forgotten:
                self.parts.pop(number, None)
            return [self._own_part(PartOrder(master, method, each[0], [], 0, answered))]
        assert not self.workers.dismissed, "the other ranks have left, with their parts of the master"
        gone, self.forgotten[:] = list(self.forgotten), []
        orders = [PartOrder(master, method, arguments, gone, self.team.meet(), answered) for arguments in each]
        idle = [None] * (self.team.size - len(each))
        return self.workers.deal(PartService, [*orders, *idle], partial(self._serve, orders[0]), "master")

    def serve(self, request: PartOrder | None) -> None:
        if request is not None:
            self._serve(request)

    def _serve(self, order: PartOrder) -> list[Any] | None:
        self.team.meet(order.at)
        for number in order.gone:
            self.parts.pop(number, None)
        value = self._own_part(order)
        if self.team.rank >= order.answered:
            return None
        with self.team.sheet.section("master"):
            return self.team.gather(value, "master", order.answered)

    def _own_part(self, order: PartOrder) -> Any:
        with self.team.sheet.section("master"):
            if order.method == "found":
                self.parts[order.master] = MasterPart(self.team, *order.arguments)
                return None
            return getattr(self.parts[order.master], order.method)(*order.arguments)
