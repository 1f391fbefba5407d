"""`releaser lint --diff ONE OTHER`: what two environments' rendered objects have differently."""

from __future__ import annotations

from releaser.errors import InvalidInput
from releaser.lint.subject import Charts
from releaser.manifests import Document, counterpart, documents
from releaser.models import Contrast, FieldPair
from releaser.objects import differences, masked
from releaser.settings import Environment, Project


def contrast(project: Project, one: Environment, other: Environment, charts: Charts) -> Contrast:
    """Raises InvalidInput when one of them doesn't render."""
    ours, theirs = (_rendered(project, each, charts) for each in (one, other))
    pairs = [(each, counterpart(each, theirs)) for each in ours]
    paired = [each for _, each in pairs if each]
    return Contrast(
        one=one.name,
        other=other.name,
        fields=tuple(
            FieldPair(each.object_ref, each.address, each.wanted, each.live)
            for mine, its in pairs
            if its
            for each in masked(differences(mine.object.body, its.object.body))
        ),
        only_one=tuple(each.object.ref for each, its in pairs if its is None),
        only_other=tuple(each.object.ref for each in theirs if each not in paired),
    )


def _rendered(project: Project, environment: Environment, charts: Charts) -> tuple[Document, ...]:
    try:
        manifest = charts.template(
            project.release, environment.namespace, project.chart, environment.values_file, project.lint.kubernetes
        )
    except InvalidInput as exc:
        raise InvalidInput(
            f"While rendering {environment.name}: {exc.message}", detail=exc.detail, hint="releaser lint shows where"
        ) from exc
    return documents(manifest, environment.namespace)
