"""`releaser down`: stop the local cluster, or delete it."""

from __future__ import annotations

from typing import Protocol

from releaser.models import Down, Reporter
from releaser.steps import step


class Minikube(Protocol):
    profile: str

    def exists(self) -> bool: ...

    def stop(self) -> None: ...

    def delete(self) -> None: ...


def down(minikube: Minikube, reporter: Reporter, *, delete: bool) -> Down:
    existed = minikube.exists()
    if existed:
        with step(reporter, "delete Minikube" if delete else "stop Minikube") as running:
            running.detail = f"profile {minikube.profile}"
            if delete:
                minikube.delete()
            else:
                minikube.stop()
    return Down(minikube.profile, delete, existed)
