"""`releaser build` and `releaser load`: the image, once, and into the nodes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from releaser.errors import InvalidInput
from releaser.flows.ports import Images, Store
from releaser.located import load_mapping
from releaser.models import Built, Image, Loaded, Note, Reporter, Source
from releaser.settings import Project
from releaser.steps import step


def build(project: Project, images: Images, source: Source, reporter: Reporter, store: Store | None = None) -> Built:
    """The image of the source as it is now; built only when its content was never built before, here or by those who
    pushed it to the registry that `store` is."""
    with step(reporter, "build image") as running:
        image = images.identify(project.image_repository, app_version(project), project.dockerfile)
        here = image.id
        if not here and store is not None and store.pulled:
            image = replace(image, id=store.image_ids(image.ref)[0])
        rebuilt = not image.id
        if rebuilt:
            image = images.build(image, project.dockerfile, _labels(image, source), running.progress)
        running.detail = f"{image.ref}{'' if rebuilt else '  unchanged' if here else '  built before, elsewhere'}"
    return Built(image, rebuilt, running.elapsed_seconds)


def write_sbom(images: Images, image: Image, path: Path, reporter: Reporter) -> None:
    """What Python packages the image has, into a file."""
    with step(reporter, "list packages") as running:
        text = images.sbom(image)
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as exc:
            raise InvalidInput(f"While writing {path}: {exc.strerror}", hint="name a file that can be written") from exc
        running.detail = str(path)


def load(project: Project, image: Image, store: Store, reporter: Reporter, *, plain_tag: bool = True) -> Loaded:
    """The image to where pods get it from; nothing is sent when it is there. The result has it as pods name it.

    With `plain_tag` the first image of an app version also gets the plain version as its tag, which is what the chart
    names by default: `helm install` without values finds it. That tag is never moved to other content.
    """
    release_ref = f"{image.repository}:{app_version(project)}"
    with step(reporter, "load image") as running:
        there, named = store.image_ids(image.ref, release_ref)
        sent = None if there == image.id else store.load(image, running.progress)
        running.detail = f"{sent.amount} into {store.target}" if sent else f"already in {store.target}"
    image = store.named(image)
    if store.pulled:
        return Loaded(image, store.target, sent, running.elapsed_seconds)
    if plain_tag and not named:
        store.tag(image, release_ref)
    elif plain_tag and named != image.id:
        reporter.emit(
            Note(f"{release_ref} in {store.target} stays as it is: an earlier build of this version has the name")
        )
    return Loaded(image, store.target, sent, running.elapsed_seconds)


def app_version(project: Project) -> str:
    """Chart.yaml's appVersion: the version of the service, and the chart's default image tag."""
    path = project.chart / "Chart.yaml"
    version = load_mapping(path).data.get("appVersion")
    if not isinstance(version, str) or not version:
        raise InvalidInput(f"While reading {path}: a text appVersion is wanted, it is {version!r}")
    return version


def _labels(image: Image, source: Source) -> dict[str, str]:
    return {
        "org.opencontainers.image.version": image.tag,
        "org.opencontainers.image.revision": f"{source.commit}{'-dirty' if source.dirty else ''}",
    }
