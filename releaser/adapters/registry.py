"""A repository in a container registry, reached through the local Docker engine and with docker's credentials."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import docker
import requests
from docker.errors import DockerException, ImageNotFound
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from releaser.adapters.cluster import Cluster
from releaser.adapters.process import Process
from releaser.adapters.pull_secrets import PullSecrets
from releaser.errors import EnvironmentUnfit, Refused
from releaser.models import Image, Note, Reporter, Sent
from releaser.settings import RegistrySettings

_PUSH_SECONDS = 1800
_ASK_SECONDS = 60.0
_ATTEMPTS = 6
_LONGEST_PAUSE_SECONDS = 30
# What another attempt may mend; docker says it in words only. Numbers stand in digests and ports as well.
_PASSING = re.compile(
    r"toomanyrequests|too many requests|unexpected http status: 5|\b(500 internal|502 bad|503 service|504 gateway)"
    r"|connection reset|connection refused|broken pipe|\beof\b|timeout|timed out",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"unauthorized|no basic auth credentials|denied|authentication required|403 forbidden", re.IGNORECASE
)

_Answer = TypeVar("_Answer")


class _Passing(Exception):
    """What may go well another time."""


class Registry:
    """Satisfies flows' Store for environments whose nodes pull their images."""

    pulled = True

    def __init__(self, process: Process, cluster: Cluster, settings: RegistrySettings, reporter: Reporter) -> None:
        self._process = process
        self._settings = settings
        self._reporter = reporter
        self._secrets = PullSecrets(cluster, settings)

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
        digest = self._patiently(doing, lambda: self._push(image, ref, progress))
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
        return self._secrets.names(release)

    def prepare(self, namespace: str, release: str) -> None:
        self._secrets.prepare(namespace, release)

    def clear(self, namespace: str, release: str) -> None:
        self._secrets.clear(namespace, release)

    # -- the registry --------------------------------------------------------------------------------------------------

    def _ref(self, tag: str) -> str:
        return f"{self._settings.repository}:{tag}"

    def _patiently(self, doing: str, ask: Callable[[], _Answer]) -> _Answer:
        """Once more, after a pause, as long as what went wrong may pass."""
        attempts = Retrying(
            retry=retry_if_exception_type(_Passing),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(multiplier=1, max=_LONGEST_PAUSE_SECONDS),
            before_sleep=lambda state: self._say_again(doing, state),
            reraise=True,
        )
        try:
            return attempts(ask)
        except _Passing as exc:
            raise EnvironmentUnfit(
                f"While {doing}: the registry was not well in {_ATTEMPTS} attempts",
                detail=str(exc),
                hint="run the command again when it is well: what has arrived there is kept",
            ) from exc

    def _manifest(self, ref: str) -> tuple[str, str] | None:
        """Digests of the manifest and of its config; None when there is no such tag."""
        return self._patiently(f"asking for {ref}", lambda: self._ask(ref))

    def _ask(self, ref: str) -> tuple[str, str] | None:
        """Raises _Passing when another attempt may help."""
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
        raise self._refused(f"asking for {ref}", said)

    def _same_content(self, ref: str, image: Image) -> bool:
        """Whether what is there differs from the image in nothing but when it was built, and of which commit."""
        doing = f"comparing {ref} with the image here"
        repository, _, tag = ref.rpartition(":")

        def compare() -> bool:
            try:
                engine = docker.from_env(timeout=_PUSH_SECONDS)
                with _lent(engine, ref, image.id):
                    there, here = engine.images.pull(repository, tag).attrs, engine.images.get(image.id).attrs
            except (DockerException, requests.RequestException) as exc:
                raise self._refused(doing, str(exc)) from exc
            return _content(there) == _content(here)

        return self._patiently(doing, compare)

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
            with _lent(engine, ref, image.id):
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
        if _DENIED.search(said):
            return EnvironmentUnfit(
                f"While {doing}: the registry does not accept the credentials",
                detail=said,
                hint=f"docker login {self._host}",
            )
        if _PASSING.search(said):
            return _Passing(said)
        return EnvironmentUnfit(f"While {doing}: the registry does not answer as it should", detail=said)

    def _say_again(self, doing: str, state: RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0.0
        text = f"{doing} again in {pause:.0f} s (attempt {state.attempt_number + 1} of {_ATTEMPTS}): {failure}"
        self._reporter.emit(Note(text, warning=True))

    @property
    def _host(self) -> str:
        return self._settings.repository.partition("/")[0]


@contextmanager
def _lent(engine: docker.DockerClient, ref: str, keep: str) -> Iterator[None]:
    """Docker here has the name only meanwhile, unless it had it before: else its image would stay for good. The image
    with the id `keep` stays, even if it has no other name."""
    had = bool(engine.images.list(name=ref))
    try:
        yield
    finally:
        with suppress(DockerException, requests.RequestException):
            found = None if had else engine.images.get(ref)
            if found and (found.id != keep or len(found.tags) > 1):
                engine.images.remove(ref)


def _content(attributes: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Layers, and what runs in them."""
    runs = ("User", "Env", "Cmd", "Entrypoint", "WorkingDir", "ExposedPorts", "Volumes", "StopSignal")
    return attributes["RootFS"]["Layers"], {key: attributes["Config"].get(key) for key in runs}


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
