"""Can what Minikube and Docker usually download be had? Asked in a way that only the real thing answers right."""

from __future__ import annotations

import requests

_SECONDS = 5.0
# A manifest is proof: a closed network may answer any address with a page of its own.
_MANIFESTS = (
    "https://registry.k8s.io/v2/pause/manifests/3.10",
    "https://gcr.io/v2/k8s-minikube/kicbase/tags/list",
)
_RELEASES = "https://dl.k8s.io/release/stable.txt"


class Registries:
    def answer(self) -> bool:
        return all(_is_registry(url) for url in _MANIFESTS) and _is_release(_RELEASES)


def _get(url: str) -> requests.Response | None:
    accept = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, */*"
    try:
        return requests.get(url, timeout=_SECONDS, headers={"Accept": accept})
    except requests.RequestException:
        return None


def _is_registry(url: str) -> bool:
    response = _get(url)
    return (
        response is not None
        and response.status_code == requests.codes.ok
        and "json" in response.headers.get("Content-Type", "")
    )


def _is_release(url: str) -> bool:
    response = _get(url)
    return response is not None and response.status_code == requests.codes.ok and response.text.startswith("v1.")
