"""Live objects of any kind, custom resources included: plain JSON over the API's REST paths, found by discovery."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import urllib3
from kubernetes import client

from releaser.adapters.cluster import connect
from releaser.errors import EnvironmentUnfit, InvalidInput, ReleaserError
from releaser.expected import keep, replacement
from releaser.objects import (
    MANAGED_BY,
    RELEASE_NAME,
    RELEASE_NAMESPACE,
    Body,
    Comparison,
    KubeObject,
    Prediction,
    Refusal,
)

_REQUEST_SECONDS = 15
_HELM = "helm"
"""The field manager of Helm 4 (apply) and Helm 3 (update)."""
_OURS = "releaser"
_CONFLICT, _INVALID, _NOT_FOUND = 409, 422, 404
# A live object may change between our read and our write; so often in a row it does not.
_ATTEMPTS = 5


@dataclass(frozen=True)
class _Resource:
    """How a kind is reached."""

    prefix: str
    plural: str
    namespaced: bool

    def path(self, namespace: str, name: str = "") -> str:
        inside = f"/namespaces/{namespace}" if self.namespaced else ""
        return f"{self.prefix}{inside}/{self.plural}{f'/{name}' if name else ''}"


class _Refused(Exception):
    """The API server's answer to a request that it didn't do: the HTTP status and its Status object."""

    def __init__(self, code: int, status: Mapping[str, Any]) -> None:
        super().__init__(status.get("message") or f"HTTP {code}")
        self.code = code
        self.causes = tuple(
            (str(cause["field"]), str(cause.get("message", "")))
            for cause in (status.get("details") or {}).get("causes") or []
            if cause.get("field") and cause["field"] != "<nil>"
        )


class LiveObjects:
    """The objects of one cluster, named by its kube context."""

    def __init__(self, context: str) -> None:
        self.context = context
        self._resources: dict[str, dict[str, _Resource]] = {}

    @cached_property
    def _api(self) -> client.ApiClient:
        return connect(self.context)

    def cluster_uid(self) -> str:
        """What tells this cluster from all others: the uid of kube-system, which lives as long as the cluster."""
        body = self._asked("GET", "/api/v1/namespaces/kube-system", doing="asking which cluster this is")
        return str(body["metadata"]["uid"])

    # -- reading -------------------------------------------------------------------------------------------------------

    def get(self, wanted: KubeObject) -> Body | None:
        """The live object; None when there is none, or when the cluster has no such kind."""
        resource = self._resource(wanted)
        if resource is None:
            return None
        try:
            return self._request("GET", resource.path(wanted.namespace, wanted.name))
        except _Refused as exc:
            if exc.code == _NOT_FOUND:
                return None
            raise self._mapped(exc, f"reading {wanted.ref}") from exc

    def owned(self, release: str, namespace: str, kinds: Sequence[KubeObject]) -> tuple[KubeObject, ...]:
        """Objects that Helm made for the release, of the kinds of the objects given. Not those that are about to go,
        nor those that their chart asks to keep."""
        found: dict[tuple[str, str, str, str], KubeObject] = {}
        places = {(each.api_version, each.kind, each.namespace): each for each in kinds}
        for each in places.values():
            resource = self._resource(each)
            if resource is None:
                continue
            for item in self._list(resource, each):
                metadata = item["metadata"]
                annotations = metadata.get("annotations") or {}
                mine = (annotations.get(RELEASE_NAME), annotations.get(RELEASE_NAMESPACE)) == (release, namespace)
                kept = annotations.get("helm.sh/resource-policy") == "keep"
                if mine and not kept and "deletionTimestamp" not in metadata:
                    body = {"apiVersion": each.api_version, "kind": each.kind, "metadata": metadata}
                    one = KubeObject(each.api_version, each.kind, each.namespace, metadata["name"], body)
                    found[one.identity] = one
        return tuple(found.values())

    def _list(self, resource: _Resource, like: KubeObject) -> list[Body]:
        """Only metadata crosses the wire: Secrets keep theirs."""
        listed = self._asked(
            "GET",
            resource.path(like.namespace),
            query={"labelSelector": f"{MANAGED_BY}=Helm"},
            accept="application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            doing=f"listing {resource.plural}",
        )
        return list(listed.get("items") or [])

    def compare(self, wanted: KubeObject) -> Comparison:
        """The live object beside what it would be if the manifest alone counted, which the API server itself tells:
        it is asked to replace the one by the other, as a dry run."""
        for _ in range(_ATTEMPTS):
            live = self.get(wanted)
            if live is None:
                return Comparison(wanted, None)
            try:
                return self._compared(wanted, live, replacement(wanted.body, live))
            except _Refused as exc:
                if exc.code != _CONFLICT:
                    return Comparison(wanted, live, inexact=str(exc))
        raise EnvironmentUnfit(f"While comparing {wanted.ref}: it changes faster than it can be read")

    def _compared(self, wanted: KubeObject, live: Body, body: Body, refused: tuple[Refusal, ...] = ()) -> Comparison:
        """Asked again with the live value of each refused field, the rest can be compared exactly."""
        try:
            return Comparison(wanted, live, self._put(wanted, body, dry_run=True), refused)
        except _Refused as exc:
            known = {each.field for each in refused}
            causes = [(field, message) for field, message in exc.causes if field not in known]
            if exc.code != _INVALID or not causes:
                raise
        more = tuple(Refusal(keep(body, live, field), message, field) for field, message in causes)
        return self._compared(wanted, live, body, refused + more)

    def predict(self, wanted: KubeObject) -> Prediction:
        """What Helm would make of the object: a dry run of its own way of writing.

        An object that Helm wrote by updates, Helm takes over before it applies, which no dry run can show: there, what
        the manifest alone would make of it is the answer.
        """
        live = self.get(wanted)
        if live is not None and not _applied_by_helm(live):
            compared = self.compare(wanted)
            return Prediction(wanted, compared.live, compared.expected, compared.refused)
        try:
            return Prediction(wanted, live, self._apply(wanted, dry_run=True))
        except _Refused as exc:
            if exc.code == _NOT_FOUND:  # the namespace is yet to be made
                return Prediction(wanted, None, wanted.body)
            if exc.code != _INVALID:
                raise self._mapped(exc, f"trying {wanted.ref}") from exc
            refused = tuple(Refusal(field, message, field) for field, message in exc.causes) or (Refusal("", str(exc)),)
            return Prediction(wanted, live, None, refused)

    # -- writing -------------------------------------------------------------------------------------------------------

    def restore(self, compared: Comparison) -> None:
        """Make the live object what its manifest says, in one write, and leave every field to Helm.

        A later `helm upgrade` must not meet a field that somebody else owns. So, where Helm applied the object, our
        write is followed by Helm's own apply, which makes it an owner again, and by the removal of our name.
        """
        wanted = compared.wanted
        for _ in range(_ATTEMPTS):
            try:
                self._restore(compared)
                return
            except _Refused as exc:
                if exc.code != _CONFLICT:
                    raise self._mapped(exc, f"repairing {wanted.ref}") from exc
            compared = self.compare(wanted)
        raise EnvironmentUnfit(f"While repairing {wanted.ref}: it changes faster than it can be written")

    def _restore(self, compared: Comparison) -> None:
        wanted, live = compared.wanted, compared.live
        if live is None:
            self._apply(wanted)
            return
        body = replacement(wanted.body, live)
        for refusal in compared.refused:
            keep(body, live, refusal.field)
        if not _applied_by_helm(live):
            self._put(wanted, body, manager=_HELM)
            return
        self._put(wanted, body, manager=_OURS)
        if not compared.refused:  # Helm's apply would be refused, too
            self._sign_off(wanted, self._apply(wanted))

    def _sign_off(self, wanted: KubeObject, live: Body) -> None:
        """Take ourselves out of the field managers: of all that we wrote, Helm is an owner by now."""
        for _ in range(_ATTEMPTS):
            entries = live["metadata"].get("managedFields") or []
            index = next((i for i, entry in enumerate(entries) if entry["manager"] == _OURS), None)
            if index is None:
                return
            path = f"/metadata/managedFields/{index}"
            try:
                live = self._patch(
                    wanted,
                    [{"op": "test", "path": f"{path}/manager", "value": _OURS}, {"op": "remove", "path": path}],
                )
            except _Refused as exc:
                if exc.code not in (_CONFLICT, _INVALID):
                    raise
                # a controller wrote between, and the entries stand in the order of their last writes
                found = self.get(wanted)
                if found is None:
                    return
                live = found
        raise EnvironmentUnfit(f"While repairing {wanted.ref}: it changes faster than it can be read")

    def delete(self, live: KubeObject) -> None:
        """Remove an object; no error when it is gone already."""
        resource = self._served(live)
        try:
            self._request("DELETE", resource.path(live.namespace, live.name), body={"propagationPolicy": "Background"})
        except _Refused as exc:
            if exc.code != _NOT_FOUND:
                raise self._mapped(exc, f"deleting {live.ref}") from exc

    # -- requests ------------------------------------------------------------------------------------------------------

    def _put(self, wanted: KubeObject, body: Body, *, dry_run: bool = False, manager: str = _OURS) -> Body:
        path = self._served(wanted).path(wanted.namespace, wanted.name)
        return self._request("PUT", path, body=body, query={"fieldManager": manager, **_dry(dry_run)})

    def _apply(self, wanted: KubeObject, *, dry_run: bool = False) -> Body:
        path = self._served(wanted).path(wanted.namespace, wanted.name)
        query = {"fieldManager": _HELM, "force": "true", **_dry(dry_run)}
        return self._request("PATCH", path, body=wanted.body, query=query, content="application/apply-patch+yaml")

    def _patch(self, wanted: KubeObject, operations: list[dict[str, Any]]) -> Body:
        path = self._served(wanted).path(wanted.namespace, wanted.name)
        return self._request("PATCH", path, body=operations, content="application/json-patch+json")

    def _served(self, wanted: KubeObject) -> _Resource:
        resource = self._resource(wanted)
        if resource is None:
            raise EnvironmentUnfit(
                f"While reaching {wanted.ref}: the cluster of {self.context} has no {wanted.kind} in "
                f"{wanted.api_version}",
                hint="install the CustomResourceDefinition that it is an instance of",
            )
        return resource

    def _resource(self, wanted: KubeObject) -> _Resource | None:
        version = wanted.api_version
        if version not in self._resources:
            self._resources[version] = self._discovered(version)
        return self._resources[version].get(wanted.kind)

    def _discovered(self, version: str) -> dict[str, _Resource]:
        prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
        try:
            listed = self._request("GET", prefix)
        except _Refused as exc:
            if exc.code == _NOT_FOUND:
                return {}
            raise self._mapped(exc, f"asking for the kinds of {version}") from exc
        return {
            each["kind"]: _Resource(prefix, each["name"], each["namespaced"])
            for each in listed["resources"]
            if "/" not in each["name"]
        }

    def _asked(self, method: str, path: str, *, doing: str, **more: Any) -> Body:
        try:
            return self._request(method, path, **more)
        except _Refused as exc:
            raise self._mapped(exc, doing) from exc

    def _request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        content: str = "application/json",
        accept: str = "application/json",
    ) -> Body:
        try:
            response = self._api.call_api(
                *self._api.param_serialize(
                    method=method,
                    resource_path=path,
                    query_params=list((query or {}).items()),
                    header_params={"Accept": accept, "Content-Type": content},
                    body=body,
                    auth_settings=["BearerToken"],
                ),
                _request_timeout=_REQUEST_SECONDS,
            )
            data = response.read()
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            raise EnvironmentUnfit(
                f"While asking for {path}: the cluster of context {self.context} does not answer",
                detail=str(exc)[:300],
                hint="releaser doctor shows what is missing; `releaser up` starts the local cluster",
            ) from exc
        document = _document(data)
        if response.status >= 400:
            raise _Refused(response.status, document)
        return document

    def _mapped(self, exc: _Refused, doing: str) -> ReleaserError:
        text = f"While {doing}: the API server of {self.context} said {exc}"
        fields = "; ".join(f"{field}: {message}" for field, message in exc.causes)
        if exc.code == _INVALID:
            return InvalidInput(text, detail=fields, hint="a field that can't be changed needs the object made anew")
        return EnvironmentUnfit(text, detail=fields)


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}


def _document(data: bytes) -> Body:
    try:
        document = json.loads(data)
    except ValueError:
        return {"message": data.decode(errors="replace")[:300]}
    return document if isinstance(document, dict) else {"message": str(document)[:300]}


def _applied_by_helm(live: Body) -> bool:
    """Helm wrote it by server-side apply, as Helm 4 does; else by updates, as Helm 3 did."""
    return any(
        (entry.get("manager"), entry.get("operation")) == (_HELM, "Apply")
        for entry in live["metadata"].get("managedFields") or []
    )
