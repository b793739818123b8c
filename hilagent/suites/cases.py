# SPDX-License-Identifier: Apache-2.0
"""How a suite's test gets its cases: one test id a case, known before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from hilagent.session.settings import Settings

Test = TypeVar("Test", bound=Callable[..., Any])


def cases(make: Callable[[Settings], Iterable[object]]) -> Callable[[Test], Test]:
    """Run the decorated test once for each case that ``make`` returns.

    ``str(case)`` is what stands between the brackets of the test's id; the test
    gets it as its argument ``case``.
    """

    def mark(test: Test) -> Test:
        test.hilagent_cases = make  # type: ignore[attr-defined]
        return test

    return mark
