"""What is compared: one service, run in several ways. All get the same code, settings and bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

WORKERS, THREADS = 2, 4
CPUS = 1
MEMORY_MIB = 256  # of a container; a virtual machine also holds a system (machine.MEMORY_MIB)
SETTINGS = {
    "APP_ENVIRONMENT": "bench",
    "APP_SECRET_KEY": "the-same-in-every-instance",
    "WEB_WORKERS": str(WORKERS),
    "WEB_THREADS": str(THREADS),
    "WEB_GRACEFUL_TIMEOUT_SECONDS": "10",
}


@dataclass(frozen=True)
class Memory:
    """Proportional set sizes in bytes: of what runs the instances, and of the instances with what each brings along."""

    platform: int
    instances: int


@dataclass(frozen=True)
class Release:
    """One version of the code: what /version says, its image, and the directory with app/."""

    version: str
    image: str
    root: str


class Contestant(Protocol):
    """`start` begins with nothing; commands return when they ended, which may be before or after instances answer."""

    @property
    def key(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def instances(self) -> int:
        """How many it is meant to run with."""
        ...

    @property
    def url(self) -> str: ...

    def start(self) -> None:
        """The first release, with all its instances."""

    def stop(self) -> None:
        """All that `start` made, also when half of it was made; nothing when it was never started."""

    def arm_process(self) -> Callable[[], None]:
        """What sends SIGKILL to gunicorn's master in one instance: nothing but the kill is left to do."""
        ...

    def arm_unit(self) -> tuple[Callable[[], None], str]:
        """The same for the whole of one instance: pod, container, machine. And its name, if its like gets another."""
        ...

    def revive(self) -> None:
        """What a person does when nothing brings the unit back."""

    def update(self) -> None:
        """To the second release, by one command or by what its users write around it."""

    def roll_back(self) -> None:
        """To the first one."""

    def scale(self, instances: int) -> None: ...

    def memory(self) -> Memory: ...
