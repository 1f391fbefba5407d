"""The one exception tree. Every leaf is something that a user can meet and do something about.

    ReleaserError
    ├── UsageError                2  the command line itself is wrong
    ├── InvalidInput              3  releaser.yaml, values, chart or Dockerfile are wrong
    │   ├── LintFailed               findings of severity error
    │   └── BuildFailed              a step of the Dockerfile failed
    ├── Refused                   4  nothing was touched
    │   ├── Declined                 the operator said no, or could not be asked
    │   ├── WrongContext             the kube context is not the environment's own
    │   ├── ReleasePending           another operation holds the release
    │   ├── StalePlan                what the plan was made from has moved
    │   ├── NothingToRollBackTo      no revision was ever proven good
    │   ├── LockHeld                 somebody else holds the release's lock
    │   └── Superseded               a newer commit goes first, or went
    ├── EnvironmentUnfit          5  the machine, Docker or the cluster is not fit
    │   ├── ToolMissing
    │   ├── ToolFailed
    │   ├── ToolTimeout
    │   └── LockLost                 the release's lock is not ours any more: touch nothing
    ├── ReleaseFailed             6  the release failed and the previous state is back
    └── ReleaseNotRestored        7  the release failed and the previous state is NOT back

Anything else that is raised is a bug and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from releaser.models import Cause, Finding


class ReleaserError(Exception):
    """What was being done and what went wrong (message), the evidence (detail), what to do next (hint)."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail


class UsageError(ReleaserError):
    exit_code = 2


class InvalidInput(ReleaserError):
    exit_code = 3


class LintFailed(InvalidInput):
    def __init__(self, message: str, findings: Sequence[Finding], *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.findings = tuple(findings)


class BuildFailed(InvalidInput):
    pass


class Refused(ReleaserError):
    exit_code = 4


class Declined(Refused):
    pass


class WrongContext(Refused):
    pass


class ReleasePending(Refused):
    pass


class StalePlan(Refused):
    pass


class NothingToRollBackTo(Refused):
    pass


class LockHeld(Refused):
    pass


class Superseded(Refused):
    pass


class EnvironmentUnfit(ReleaserError):
    exit_code = 5


class ToolMissing(EnvironmentUnfit):
    pass


class ToolFailed(EnvironmentUnfit):
    """An external program ended with a code other than zero; both of its streams are kept."""

    def __init__(self, message: str, *, exit_status: int, stdout: str, stderr: str, hint: str = "") -> None:
        super().__init__(message, hint=hint, detail=(stderr.strip() or stdout.strip()))
        self.exit_status = exit_status
        self.stdout = stdout
        self.stderr = stderr


class ToolTimeout(EnvironmentUnfit):
    pass


class LockLost(EnvironmentUnfit):
    pass


class _Verdict(ReleaserError):
    """The end of a release that failed: its cause, and where the evidence is kept."""

    def __init__(
        self, message: str, *, hint: str = "", detail: str = "", cause: Cause | None = None, incident: str = ""
    ) -> None:
        super().__init__(message, hint=hint, detail=detail)
        self.cause = cause
        self.incident = incident


class ReleaseFailed(_Verdict):
    exit_code = 6


class ReleaseNotRestored(_Verdict):
    exit_code = 7
