"""The errors a user can meet, each with the exit code that CI reads.

Everything raised on purpose is a ``P2MError``: the front ends print its message as one line and exit with
its code. Anything else is a bug and exits 1.
"""

from __future__ import annotations

EXIT_MET = 0
EXIT_INTERNAL = 1
EXIT_USAGE = 2
EXIT_BELOW_TARGET = 3
EXIT_PROVIDER = 4
EXIT_INTERRUPTED = 130


class P2MError(Exception):
    """An expected failure with a message for the user: one line that says what is wrong and what to do."""

    exit_code = EXIT_INTERNAL


class BadInput(P2MError):
    """The user's file, task or option is wrong.

    ``where`` is a path, option or field; ``line`` is 1-based; ``fix`` says what to change.
    """

    exit_code = EXIT_USAGE

    def __init__(self, problem: str, *, where: str = "", line: int | None = None, fix: str = "") -> None:
        self.problem, self.where, self.line, self.fix = problem, where, line, fix
        place = f"{where}:{line}" if where and line is not None else where
        message = f"{place}: {problem}" if place else problem
        if fix:
            message = f"{message.rstrip('.')}. {fix}"
        super().__init__(" ".join(message.split()))


class ProviderError(P2MError):
    """A teacher or planner endpoint failed for good, after the retries."""

    exit_code = EXIT_PROVIDER


class BudgetExceeded(P2MError):
    """A call was refused before it was made, because it would pass a limit named in ``limit``."""

    exit_code = EXIT_BELOW_TARGET

    def __init__(self, limit: str, message: str) -> None:
        self.limit = limit
        super().__init__(message)


class ToolFailure(P2MError):
    """A tool cannot do what was asked. ``kind`` is one of the closed set in ``tools.base.ErrorKind``."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)
