"""A repository in a container registry, reached through the local Docker engine and with docker's credentials."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import docker
import requests
from docker.auth import resolve_authconfig
from docker.errors import DockerException, ImageNotFound
from kubernetes import client
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from releaser.adapters.cluster import Cluster, tolerating
from releaser.adapters.process import Process
from releaser.errors import EnvironmentUnfit, Refused
from releaser.models import Image, Note, Reporter, Sent
from releaser.settings import RegistrySettings

_PUSH_SECONDS = 1800
_ASK_SECONDS = 60.0
_REQUEST_SECONDS = 15
_ATTEMPTS = 6
_LONGEST_PAUSE_SECONDS = 30
_INSTANCE = "app.kubernetes.io/instance"
_OWNED = {"app.kubernetes.io/managed-by": "releaser"}
# What another attempt may mend; docker says it in words only.
_PASSING = (
    *("toomanyrequests", "429", "received unexpected http status: 5", "500 internal", "502 bad", "503 service"),
    *("504 gateway", "connection reset", "connection refused", "broken pipe", "unexpected eof", "timeout", "timed out"),
)
_DENIED = ("unauthorized", "no basic auth credentials", "denied", "authentication required", "403 forbidden")


class _Passing(Exception):
    """A push that may succeed another time."""


class Registry:
    """Satisfies flows' Store for environments whose nodes pull their images."""

    pulled = True

    def __init__(self, process: Process, cluster: Cluster, settings: RegistrySettings, reporter: Reporter) -> None:
        self._process = process
        self._cluster = cluster
        self._settings = settings
        self._reporter = reporter

    @property
    def target(self) -> str:
        return self._settings.repository

    def named(self, image: Image) -> Image:
        """As pods name it: by the digest of its manifest here; without one when the registry hasn't got it."""
        found = self._manifest(self._ref(image.tag))
        if found is None:
            return Image(self._settings.repository, image.tag, image.id)
        return Image(self._settings.repository, image.tag, found[1], found[0])

    def image_ids(self, *refs: str) -> tuple[str, ...]:
        """Config digests that the tags resolve to in the registry; empty for one that isn't there."""
        found = (self._manifest(self._ref(ref.rpartition(":")[2])) for ref in refs)
        return tuple(each[1] if each else "" for each in found)

    def load(self, image: Image, on_progress: Callable[[str], None] = lambda text: None) -> Sent:
        """Push what the registry lacks, and prove that the tag resolves to the very image there.

        Layers that arrived stay when a push breaks off, and aren't sent again. What somebody else built of the same
        content is left as it is. Raises Refused when the tag is there with other content, EnvironmentUnfit for wrong
        credentials and for a registry that doesn't take it after all attempts.
        """
        ref = self._ref(image.tag)
        doing = f"pushing {ref}"
        found = self._manifest(ref)
        if found and found[1] != image.id:
            if self._same_content(ref, image):
                return Sent("nothing: another build of the same content is there")
            raise Refused(
                f"While {doing}: the registry has other content under this tag",
                detail=f"there: {found[1]}\nhere:  {image.id}",
                hint="a tag never gets other content: find out who pushed it, or change the source",
            )
        progress = _Progress(on_progress)
        attempts = Retrying(
            retry=retry_if_exception_type(_Passing),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(multiplier=1, max=_LONGEST_PAUSE_SECONDS),
            before_sleep=lambda state: self._say_again(ref, state),
            reraise=True,
        )
        try:
            digest = attempts(self._push, image, ref, progress)
        except _Passing as exc:
            raise EnvironmentUnfit(
                f"While {doing}: the registry did not take it in {_ATTEMPTS} attempts",
                detail=str(exc),
                hint="what arrived is kept: run the command again when the registry is well",
            ) from exc
        found = self._manifest(ref)
        if found != (digest, image.id):
            raise EnvironmentUnfit(
                f"While {doing}: the registry has something else under the tag now",
                detail=f"pushed: {digest}, {image.id}\nthere:  {', '.join(found) if found else 'nothing'}",
                hint="somebody pushes the same tag at the same time",
            )
        return Sent("by docker push", progress.sent, progress.layers_sent, progress.layers)

    def tag(self, image: Image, ref: str) -> None:
        """Never: a registry has only tags that content has made."""
        raise NotImplementedError

    def pull_secrets(self, release: str) -> tuple[str, ...]:
        if self._settings.pull_secret:
            return (self._settings.pull_secret,)
        return (pull_secret(release),) if self._settings.create_pull_secret else ()

    def prepare(self, namespace: str, release: str) -> None:
        """Make the pull secret that was asked for, or bring it up to date.

        Raises EnvironmentUnfit where docker has no credentials to put in, or a secret that was named isn't there.
        """
        core = client.CoreV1Api(self._cluster.api)
        if self._settings.pull_secret:
            self._require_secret(core, namespace, self._settings.pull_secret)
            return
        if not self._settings.create_pull_secret:
            return
        name = pull_secret(release)
        body = client.V1Secret(
            metadata=client.V1ObjectMeta(name=name, labels={**_OWNED, _INSTANCE: release}),
            type="kubernetes.io/dockerconfigjson",
            data={".dockerconfigjson": base64.b64encode(self._docker_config()).decode()},
        )
        with self._cluster.asking(f"writing the pull secret {name} in {namespace}"):
            with tolerating(409):
                core.create_namespaced_secret(namespace, body, _request_timeout=_REQUEST_SECONDS)
                return
            core.replace_namespaced_secret(name, namespace, body, _request_timeout=_REQUEST_SECONDS)

    def clear(self, namespace: str, release: str) -> None:
        """Take away the pull secret that `prepare` made."""
        name = pull_secret(release)
        with self._cluster.asking(f"removing the pull secret {name} from {namespace}"):
            core = client.CoreV1Api(self._cluster.api)
            selector = ",".join(f"{key}={value}" for key, value in {**_OWNED, _INSTANCE: release}.items())
            core.delete_collection_namespaced_secret(
                namespace,
                label_selector=selector,
                field_selector=f"metadata.name={name}",
                _request_timeout=_REQUEST_SECONDS,
            )

    # -- the registry --------------------------------------------------------------------------------------------------

    def _ref(self, tag: str) -> str:
        return f"{self._settings.repository}:{tag}"

    def _manifest(self, ref: str) -> tuple[str, str] | None:
        """Digests of the manifest and of its config; None when there is no such tag."""
        insecure = ["--insecure"] if self._settings.plain_http else []
        finished = self._process.run(
            ["docker", "manifest", "inspect", *insecure, "--verbose", ref],
            doing=f"asking for {ref}",
            deadline_seconds=_ASK_SECONDS,
            check=False,
        )
        if finished.exit_status == 0:
            document = json.loads(finished.stdout)
            if isinstance(document, list):
                raise EnvironmentUnfit(
                    f"While asking for {ref}: it is an image for several platforms, which releaser doesn't push",
                    hint="give the environment a repository of its own",
                )
            manifest: dict[str, Any] = document.get("SchemaV2Manifest") or document.get("OCIManifest") or {}
            return str(document["Descriptor"]["digest"]), str(manifest["config"]["digest"])
        said = finished.stderr.strip()
        if "no such manifest" in said or "manifest unknown" in said or "name unknown" in said:
            return None
        raise self._unfit(f"asking for {ref}", said)

    def _same_content(self, ref: str, image: Image) -> bool:
        """Whether what is there differs from the image in nothing but when it was built, and of which commit."""
        repository, _, tag = ref.rpartition(":")
        engine = docker.from_env(timeout=_PUSH_SECONDS)
        try:
            there, here = engine.images.pull(repository, tag).attrs, engine.images.get(image.id).attrs
        except (DockerException, requests.RequestException) as exc:
            raise self._unfit(f"comparing {ref} with the image here", str(exc)) from exc
        return _content(there) == _content(here)

    def _push(self, image: Image, ref: str, progress: _Progress) -> str:
        """The digest that docker tells of the manifest. Raises _Passing when another attempt may help."""
        repository, _, tag = ref.rpartition(":")
        digest = ""
        try:
            engine = docker.from_env(timeout=_PUSH_SECONDS)
            try:
                engine.images.get(image.id)
            except ImageNotFound as exc:
                raise Refused(
                    f"While pushing {ref}: the image isn't in Docker here any more",
                    detail=image.id,
                    hint="do it where it was built, or build that commit again and release it anew",
                ) from exc
            engine.api.tag(image.id, repository, tag)
            for part in engine.api.push(repository, tag, stream=True, decode=True):
                if "error" in part:
                    raise self._refused(f"pushing {ref}", str(part["error"]))
                progress.read(part)
                digest = (part.get("aux") or {}).get("Digest", digest)
        except (DockerException, requests.RequestException) as exc:
            raise self._refused(f"pushing {ref}", str(exc)) from exc
        return digest

    def _refused(self, doing: str, said: str) -> Exception:
        return _Passing(said) if any(sign in said.lower() for sign in _PASSING) else self._unfit(doing, said)

    def _unfit(self, doing: str, said: str) -> EnvironmentUnfit:
        if any(sign in said.lower() for sign in _DENIED):
            return EnvironmentUnfit(
                f"While {doing}: the registry does not accept the credentials",
                detail=said,
                hint=f"docker login {self._host}",
            )
        return EnvironmentUnfit(f"While {doing}: the registry does not answer as it should", detail=said)

    def _say_again(self, ref: str, state: RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0.0
        text = f"pushing {ref} again in {pause:.0f} s (attempt {state.attempt_number + 1} of {_ATTEMPTS}): {failure}"
        self._reporter.emit(Note(text, warning=True))

    # -- credentials ---------------------------------------------------------------------------------------------------

    @property
    def _host(self) -> str:
        return self._settings.repository.partition("/")[0]

    def _docker_config(self) -> bytes:
        """A config.json with the credentials for this registry and no other."""
        try:
            found = resolve_authconfig(docker.auth.load_config(), registry=self._host)
        except DockerException as exc:
            raise EnvironmentUnfit(
                f"While asking docker's credential helper for {self._host}: it failed", detail=str(exc)
            ) from exc
        # what a helper says comes with capitals
        known = {key.lower(): value for key, value in (found or {}).items()}
        user, password = known.get("username"), known.get("password")
        if not user or not password:
            raise EnvironmentUnfit(
                f"While making a pull secret: docker has no user and password for {self._host}",
                hint=f"docker login {self._host}, or name a secret of your own (registry.pullSecret)",
            )
        auth = base64.b64encode(f"{user}:{password}".encode()).decode()
        return json.dumps({"auths": {self._host: {"username": user, "password": password, "auth": auth}}}).encode()

    def _require_secret(self, core: client.CoreV1Api, namespace: str, name: str) -> None:
        with self._cluster.asking(f"looking for the pull secret {name} in {namespace}"), tolerating(404):
            core.read_namespaced_secret(name, namespace, _request_timeout=_REQUEST_SECONDS)
            return
        raise EnvironmentUnfit(
            f"While looking for pull secrets: {namespace} has no secret {name}",
            hint=f"kubectl -n {namespace} create secret docker-registry {name}, or let releaser make one "
            "(registry.createPullSecret)",
        )


def _content(attributes: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Layers, and what runs in them."""
    runs = ("User", "Env", "Cmd", "Entrypoint", "WorkingDir", "ExposedPorts", "Volumes", "StopSignal")
    return attributes["RootFS"]["Layers"], {key: attributes["Config"].get(key) for key in runs}


def pull_secret(release: str) -> str:
    """The name of the secret that releaser makes."""
    return f"{release}-registry"


class _Progress:
    """Bytes and layers that a push has sent, from docker's messages."""

    def __init__(self, on_progress: Callable[[str], None]) -> None:
        self._on_progress = on_progress
        self._sent: dict[str, int] = {}
        self._total: dict[str, int] = {}
        self._pushed: set[str] = set()
        self._seen: set[str] = set()

    def read(self, part: dict[str, Any]) -> None:
        layer, status, detail = part.get("id", ""), part.get("status", ""), part.get("progressDetail") or {}
        if status in ("Preparing", "Waiting", "Layer already exists", "Pushing", "Pushed"):
            self._seen.add(layer)
        if status == "Pushing" and "current" in detail:
            self._sent[layer] = max(self._sent.get(layer, 0), detail["current"])
            self._total[layer] = max(self._total.get(layer, 0), detail.get("total", detail["current"]))
            self._on_progress(f"{self.sent / 1e6:.1f} of {sum(self._total.values()) / 1e6:.1f} MB")
        if status == "Pushed":
            self._pushed.add(layer)

    @property
    def sent(self) -> int:
        """Bytes of layers before they are compressed."""
        return sum(self._sent.values())

    @property
    def layers_sent(self) -> int:
        return len(self._pushed)

    @property
    def layers(self) -> int:
        return len(self._seen)
