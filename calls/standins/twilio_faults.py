"""What goes wrong at the Twilio stand-in's REST API, on order: refusals, silence, answers that are
lost before or after the request was carried out (twilio.md 8.3).

Owns the orders and which request meets the next one. It must not answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

When = Literal["before", "after"]


@dataclass(slots=True)
class Fault:
    """Something that happens to the next ``times`` requests that fit.

    Args:
        status: what is answered; 0 answers nothing for ``seconds``, so that the caller gives up.
        when: ``before`` the request is carried out, or ``after``: then it was done all the same.
        method, path: those that fit; the path is a regular expression, searched.
        retry_after: the header of that name, '' if none.
        then: called when it strikes, e.g. to change the number as somebody else would.
    """

    status: int = 503
    when: When = "before"
    times: int = 1
    method: str = "POST"
    path: str = "/IncomingPhoneNumbers/"
    retry_after: str = ""
    seconds: float = 30.0
    then: Callable[[], None] | None = field(default=None, repr=False)


@dataclass(slots=True)
class Faults:
    """The orders that are not used up, in the order in which they strike."""

    orders: list[Fault] = field(default_factory=list)

    def add(self, fault: Fault) -> Fault:
        """Order one more."""
        self.orders.append(fault)
        return fault

    def strikes(self, method: str, path: str) -> Fault | None:
        """Return what happens to a request, None if it goes well."""
        for fault in self.orders:
            if fault.method in ("*", method) and re.search(fault.path, path):
                fault.times -= 1
                if fault.times <= 0:
                    self.orders.remove(fault)
                if fault.then is not None:
                    fault.then()
                return fault
        return None
