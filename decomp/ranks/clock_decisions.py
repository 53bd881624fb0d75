"""What the clock and signals have cut short: asked in one place, so that a run can be repeated to the bit.

Nothing else in a solve depends on time, on the number of ranks or on who did what. The root's questions come in the
same order in every run; so the few that were not answered by no are all it takes to do the same again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from decomp.lp.watch import Interrupted

CUT = "cut"  # in the place of an answer: the run ended in between


class Stops:
    """The root's questions whether something is over.

    Parameters
    ----------
    recorded : answers of a run that is to be repeated, by number of the question; what is not there is a no.
    tell : called with number and answer of every question that is not answered by no.
    """

    def __init__(
        self, recorded: Mapping[int, Any] | None = None, tell: Callable[[int, Any], None] = lambda number, answer: None
    ):
        self.recorded, self.tell, self.asked = recorded, tell, 0
        self.answered = False

    @property
    def replayed(self) -> bool:
        """Whether a recorded run is repeated, so that no clock counts."""
        return self.recorded is not None

    def ask(self, decide: Callable[[], Any]) -> Any:
        """What was recorded, else what `decide` says now: something that JSON can hold; empty or false is a no."""
        answer = decide() if self.recorded is None else self.recorded.get(self.asked)
        self.answered = bool(answer)
        if self.answered:
            self.tell(self.asked, answer)
        self.asked += 1
        if answer == CUT:
            raise Interrupted
        return answer

    def cut(self) -> None:
        """Note that the run ends before the next question, if the last one was not answered by yes."""
        if not self.answered:
            self.tell(self.asked, CUT)
