"""May this be done here? Asked before anything is touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from releaser.errors import Declined, WrongContext
from releaser.settings import Environment


@dataclass(frozen=True)
class Consent:
    """How the operator agrees: --yes, or the environment's name typed where `ask` reaches a person (else None)."""

    yes: bool
    ask: Callable[[str], str] | None


def require_context(environment: Environment, named: str | None) -> None:
    """Raises WrongContext when --context names another context than the environment's own."""
    if named is not None and named != environment.context:
        raise WrongContext(
            f'{environment.name} is released to context "{environment.context}", not to "{named}"',
            hint="leave --context out, or change the environment's context in releaser.yaml",
        )


def require_consent(environment: Environment, doing: str, consent: Consent) -> None:
    """A protected environment asks for its name on a terminal and needs --yes elsewhere. Raises Declined."""
    if not environment.protected or consent.yes:
        return
    if consent.ask is None:
        raise Declined(
            f"{environment.name} is protected: {doing} needs --yes where nobody can be asked",
            hint="repeat the command with --yes",
        )
    answer = consent.ask(f"{environment.name} is protected. Type its name to go on with {doing}: ")
    if answer != environment.name:
        raise Declined(f"{doing} was declined; nothing was touched")
