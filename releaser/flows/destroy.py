"""`releaser destroy ENV`: the release, its history, its ledger and its settings, under the lock."""

from __future__ import annotations

from releaser.flows.guard import Consent, require_consent
from releaser.flows.ports import Store
from releaser.flows.release import locked, remove
from releaser.flows.target import Target
from releaser.models import Destroyed


def destroy(target: Target, store: Store, consent: Consent, *, wait: bool = True) -> Destroyed:
    """Remove the release and its history. The namespace stays: other things may live there."""
    require_consent(target.environment, f"destroy {target.environment.name}", consent)
    with locked(target, "destroy", wait=wait) as (target, _):
        existed = bool(target.helm.history(target.release, target.namespace))
        if existed:
            remove(target)
        store.clear(target.namespace, target.release)
    return Destroyed(target.environment.name, target.release, target.namespace, existed)
