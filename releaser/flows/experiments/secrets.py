"""Can a secret of the release be read by somebody who isn't allowed to?"""

from __future__ import annotations

import base64
import json

from releaser.flows.experiments.trial import Experiment, Skipped, Trial
from releaser.flows.release import revisions_of
from releaser.ledger import entry_text
from releaser.verification import Measurement, Promise

_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
_PATHS = ("/", "/version", "/metrics", "/livez", "/readyz", "/no-such-page")
# A shorter value would be found by chance.
_SHORTEST = 8
_DENIED = (401, 403)


def secrets(trial: Trial) -> list[Measurement]:
    namespace, disclosure = trial.namespace, trial.hands.disclosure
    if not trial.workload.secrets:
        raise Skipped("the release has no Secret")
    values = [each for each in disclosure.secret_values(namespace, trial.workload.secrets) if len(each) >= _SHORTEST]
    if not values:
        raise Skipped(f"no Secret of the release has a value of {_SHORTEST} characters or more")
    trial.mark(f"{len(values)} secret values looked for")
    asked = [f"/api/v1/namespaces/{namespace}/secrets/{name}" for name in trial.workload.secrets]
    statuses = {path: disclosure.anonymous_status(path) for path in asked}
    answers = {f"{pod} {path}": text for pod, path, text in _answers(trial)}
    answered = sum(bool(text) for text in answers.values())
    readable = {**disclosure.readable(namespace), **_told_by_releaser(trial)}
    return [
        _counted("Secrets given to strangers", [path for path, code in statuses.items() if code not in _DENIED]),
        Measurement("answers searched", answered, at_least=1),
        _counted("answers with a secret", _showing(answers, values)),
        Measurement("readable texts searched", len(readable), at_least=1),
        _counted("texts with a secret", _showing(readable, values)),
        _counted("pods with a token of the API", _with_token(trial)),
        _counted("accounts that may read Secrets", _may_read(trial)),
    ]


def _counted(name: str, places: list[str]) -> Measurement:
    return Measurement(name, len(places), at_most=0, note=", ".join(places[:3]))


def _showing(texts: dict[str, str], values: list[str]) -> list[str]:
    """Where one of the values stands, plain or in base64."""
    forms = [form for value in values for form in (value, base64.b64encode(value.encode()).decode().rstrip("="))]
    # JSON writes some characters in another way
    forms += [json.dumps(value)[1:-1] for value in values]
    return [place for place, text in texts.items() if any(form in text for form in forms)]


def _answers(trial: Trial) -> list[tuple[str, str, str]]:
    found = []
    for pod in trial.pods():
        for path in _PATHS:
            _, text = trial.hands.insides.ask(trial.namespace, pod.name, trial.workload.port, path)
            found.append((pod.name, path, text))
    return found


def _told_by_releaser(trial: Trial) -> dict[str, str]:
    """What `releaser history` tells."""
    return {f"history, revision {each.number}": entry_text(each.entry) for each in revisions_of(trial.home)}


def _with_token(trial: Trial) -> list[str]:
    found = []
    for pod in trial.pods():
        ran = trial.hands.insides.run(
            trial.namespace, pod.name, trial.workload.container, ["python", "-c", _LOOK], deadline_seconds=20
        )
        if ran.output.strip() != "none":
            found.append(pod.name)
    return found


_LOOK = f"import os; print('token' if os.path.exists({_TOKEN!r}) else 'none')"


def _may_read(trial: Trial) -> list[str]:
    account = trial.workload.service_account
    return [account] if trial.hands.disclosure.may_read_secrets(trial.namespace, account) else []


SECRETS = Experiment(
    Promise(
        "secrets",
        "Nobody reads a secret of the release who isn't allowed to read Secrets.",
        "The API server refuses them to a request without credentials (401 or 403); no page, probe or metric of a pod, "
        "no ConfigMap, Deployment, pod or log of the namespace and no entry of the history shows a value, plain or in "
        "base64; the pods have no token for the API, and their account may not read Secrets.",
        about_seconds=10,
    ),
    secrets,
)
