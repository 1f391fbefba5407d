"""Helm through pyhelm3, with what pyhelm3 lacks: no shell, a deadline, both streams kept, labels, test, lint.

pyhelm3 is async; here async begins and ends: each public method is one `asyncio.run`.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pyhelm3
import semver
from pyhelm3.errors import ReleaseNotFoundError

from releaser.adapters.process import Finished, Process
from releaser.adapters.tools import Tools
from releaser.chart_files import chart_files
from releaser.errors import EnvironmentUnfit, InvalidInput, Refused, ReleasePending, ReleaserError, ToolFailed
from releaser.ledger import HelmRevision
from releaser.models import TestRun, Values

Result = TypeVar("Result")

# A rollback's target may be many failed revisions back; Helm's own default is 10.
HISTORY = 25
# The release owns the fields that its manifest names, whoever changed them since; `plan` shows what is overwritten.
# Helm then also takes over what an earlier client-side apply left to its own name.
_OWNERSHIP = ("--server-side=true", "--force-conflicts")
# What keeps a rollback from happening once each.
_HOOK_FAILED = "warning: Hook "
_NOT_IN_MANIFEST = re.compile(r"original object .* not found")
_OBSTACLES = 2
_DEADLINE_SECONDS = 300.0


class _Command(pyhelm3.Command):  # type: ignore[misc]
    """pyhelm3's argv, our process. `more` is appended to `helm upgrade` and `helm rollback`: options that pyhelm3
    doesn't know."""

    def __init__(
        self, process: Process, executable: Path, version: str, context: str | None, more: Sequence[str]
    ) -> None:
        super().__init__(
            executable=str(executable),
            default_timeout=f"{_DEADLINE_SECONDS:.0f}s",
            history_max_revisions=HISTORY,
            kubecontext=context,
        )
        self._process = process
        self._version = version
        self._more = more

    def client_version(self) -> semver.Version:
        return semver.Version.parse(self._version)

    async def run(self, command: list[Any], input: bytes | None = None) -> bytes:
        return self.finish(command, input).stdout.encode()

    def finish(self, command: Sequence[Any], input: bytes | None = None, *, check: bool = True) -> Finished:
        """Blocks: nothing else runs in this event loop."""
        more = self._more if command[0] in ("upgrade", "rollback") else ()
        context = ("--kube-context", self._kubecontext) if self._kubecontext else ()
        try:
            return self._process.run(
                [self._executable, *map(str, command), *more, *context],
                doing=f"running helm {command[0]}",
                # helm ends by its own --timeout; this one is for a helm that hangs
                deadline_seconds=_DEADLINE_SECONDS + 30,
                input=input,
                check=check,
                # a helm that outlived us would go on writing under the next one's hands; on TERM it gives up at once
                tied=True,
            )
        except ToolFailed as exc:
            raise _classified(exc, str(command[0])) from exc


class Helm:
    """Releases of one cluster; without a context only what needs no cluster (template, lint)."""

    def __init__(self, process: Process, tools: Tools, context: str | None = None) -> None:
        self._process = process
        self._tools = tools
        self._context = context

    # -- releases ------------------------------------------------------------------------------------------------------

    def history(self, release: str, namespace: str) -> tuple[HelmRevision, ...]:
        """Helm's records, oldest first; empty when there is no such release."""
        try:
            entries = self._await(self._command().history(release, max_revisions=HISTORY + 1, namespace=namespace))
        except ReleaseNotFoundError:
            return ()
        return tuple(
            HelmRevision(
                number=entry["revision"],
                status=entry["status"],
                updated=datetime.fromisoformat(entry["updated"]).astimezone(UTC),
                description=entry.get("description", ""),
                rollback_of=entry.get("rollback_revision") or _rollback_of(entry.get("description", "")),
            )
            for entry in entries
        )

    def upgrade(self, release: str, namespace: str, chart: Path, values: Values, labels: Mapping[str, str]) -> int:
        """Install or upgrade without waiting for pods; the number of the new revision.

        Raises InvalidInput when chart and values don't render or the API server refuses an object, ReleasePending when
        another operation holds the release.
        """
        named = ["--labels", ",".join(f"{key}={value}" for key, value in labels.items())] if labels else []
        client = self._client([*named, *_OWNERSHIP])

        async def upgrade() -> int:
            reference = await client.get_chart(chart)
            # the namespace is there: whoever holds the release's lock has it in there. To make one where one may not is
            # refused even if it is there
            revision = await client.install_or_upgrade_release(
                release, reference, values, namespace=namespace, reset_values=True, create_namespace=False
            )
            return int(revision.revision)

        return self._await(upgrade())

    def rollback(self, release: str, namespace: str, number: int) -> None:
        """Return to a revision, without waiting for pods. Two things keep Helm from it, and must not keep the old state
        from coming back: a hook that fails, then it is done without hooks; and an object that lives, though the newest
        manifest lacks it, since the upgrade that was to delete it failed first. The record of the rollback that failed
        for that has it, so the next one succeeds.
        """
        command = self._command(_OWNERSHIP)
        no_hooks = False
        for attempt in range(_OBSTACLES + 1):
            try:
                self._await(command.rollback(release, number, namespace=namespace, no_hooks=no_hooks))
                return
            except ToolFailed as exc:
                hook_failed = _HOOK_FAILED in exc.stderr
                if attempt == _OBSTACLES or not (hook_failed or _NOT_IN_MANIFEST.search(exc.stderr)):
                    raise
                no_hooks = no_hooks or hook_failed

    def uninstall(self, release: str, namespace: str) -> None:
        """Remove the release and its history, and wait until its objects are gone."""
        self._await(self._client().uninstall_release(release, namespace=namespace, wait=True))

    def test(self, release: str, namespace: str, deadline_seconds: float) -> TestRun:
        """`helm test`: every test hook of the release, with their logs."""
        argv = ["test", release, "--namespace", namespace, "--logs", "--timeout", f"{deadline_seconds:.0f}s"]
        finished = self._command().finish(argv, check=False)
        if finished.exit_status != 0 and "release: not found" in finished.stderr:
            raise EnvironmentUnfit(f"While testing {release}: there is no such release in {namespace}")
        # what Helm says of it says less than the pods
        log = "\n".join(part.strip() for part in (finished.stderr, _pod_logs(finished.stdout)) if part.strip())
        return TestRun(finished.exit_status == 0, log)

    def manifest(self, release: str, namespace: str, number: int) -> str:
        """The manifest of a revision as it was sent, hooks not included. Raises Refused when there is no such one."""
        return self._get("manifest", release, namespace, number).stdout

    def values(self, release: str, namespace: str, number: int) -> Values:
        """The values that were given to a revision, without the chart's own. Raises Refused as `manifest`."""
        values: Values = json.loads(self._get("values", release, namespace, number, "--output", "json").stdout) or {}
        return values

    def _get(self, what: str, release: str, namespace: str, number: int, *more: str) -> Finished:
        argv = ["get", what, release, "--namespace", namespace, "--revision", str(number), *more]
        try:
            return self._command().finish(argv)
        except ReleaseNotFoundError as exc:
            raise Refused(
                f"{release} in {namespace} has no revision {number}", hint="releaser history ENV shows those it has"
            ) from exc

    # -- charts --------------------------------------------------------------------------------------------------------

    def template(
        self, release: str, namespace: str, chart: Path, values_file: Path | None, kubernetes: str = ""
    ) -> str:
        """The manifest, for a minor version of Kubernetes (1.35). Raises InvalidInput with Helm's own message."""
        argv = ["template", release, chart, "--namespace", namespace, *_with(values_file, kubernetes)]
        return self._command().finish(argv).stdout

    def render(self, release: str, namespace: str, chart: Path, values: Values) -> str:
        """The manifest that `upgrade` would send, rendered beside the cluster so that lookups see it.

        Raises InvalidInput and ReleasePending as `upgrade` does.
        """
        argv = ["upgrade", release, str(chart), "--namespace", namespace, "--install", "--reset-values"]
        finished = self._command().finish(
            [*argv, "--dry-run=server", "--output", "json", "--values", "-"], json.dumps(values).encode()
        )
        return str(json.loads(finished.stdout)["manifest"])

    def draft(self, release: str, namespace: str, chart: Path, values: Values, edited: Mapping[str, str]) -> str:
        """The manifest of a copy of the chart in which some files have another text, by their paths in the chart.

        Beside no cluster, so lookups find nothing; values aren't held against the schema. Raises InvalidInput.
        """
        return self._draft(release, namespace, chart, values, edited).stdout

    def unparsed(self, release: str, namespace: str, chart: Path, values: Values, edited: Mapping[str, str]) -> str:
        """As `draft`, for templates that write what is no YAML: what they write."""
        return self._draft(release, namespace, chart, values, edited, "--debug", check=False).stdout

    def _draft(
        self,
        release: str,
        namespace: str,
        chart: Path,
        values: Values,
        edited: Mapping[str, str],
        *more: str,
        check: bool = True,
    ) -> Finished:
        argv = ["template", release, "--namespace", namespace, "--skip-schema-validation", "--values", "-", *more]
        with TemporaryDirectory(prefix="releaser-") as directory:
            copy = Path(directory, chart.name)
            try:
                _copied(chart, copy, edited)
            except OSError as exc:
                raise InvalidInput(f"While copying {chart}: {exc}", hint="releaser lint") from exc
            return self._command().finish([*argv, copy], json.dumps(values).encode(), check=check)

    def lint(self, chart: Path, values_file: Path | None, kubernetes: str = "") -> str:
        """What `helm lint --strict` prints; its findings stand on stdout whether it fails or not."""
        argv = ["lint", chart, "--strict", *_with(values_file, kubernetes)]
        finished = self._command().finish(argv, check=False)
        return finished.stdout + finished.stderr

    # -- inside --------------------------------------------------------------------------------------------------------

    def _command(self, more: Sequence[str] = ()) -> _Command:
        path = self._tools.path("helm")
        found = self._tools.find("helm")
        assert found is not None  # path() has raised otherwise
        return _Command(self._process, path, found.version, self._context, more)

    def _client(self, more: Sequence[str] = ()) -> pyhelm3.Client:
        command = self._command(more)
        return pyhelm3.Client(command=command, executable=command._executable)

    def _await(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run(coroutine)


def _copied(chart: Path, copy: Path, edited: Mapping[str, str]) -> None:
    files = chart_files(chart)
    for name in files.keys() | edited.keys():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        if name in edited:
            (copy / name).write_text(edited[name], encoding="utf-8")
        elif files[name].is_file():
            shutil.copyfile(files[name], copy / name)


def _classified(exc: ToolFailed, verb: str) -> ReleaserError | ReleaseNotFoundError:
    """Helm's prose -> our errors. Each text is held by a test against the real helm."""
    text = exc.stderr
    detail = _meaning(text)
    if exc.exit_status < 0:  # killed, so it refused nothing
        return exc
    if "release: not found" in text:
        return ReleaseNotFoundError(exc.exit_status, exc.stdout.encode(), text.encode())
    if "another operation (install/upgrade/rollback) is in progress" in text:
        return ReleasePending(
            f"While running helm {verb}: another operation on this release is in progress, or was interrupted",
            hint="wait for it; if nobody works on it, `releaser rollback ENV` ends it",
            detail=detail,
        )
    if "cluster unreachable" in text or "connection refused" in text or "context deadline exceeded" in text:
        return EnvironmentUnfit(
            f"While running helm {verb}: the cluster does not answer", detail=detail, hint="releaser doctor"
        )
    if verb in ("template", "upgrade"):
        mapped: ReleaserError = InvalidInput(
            f"While running helm {verb}: chart or values were refused",
            detail=detail,
            hint="releaser lint shows every finding with its file and line",
        )
        return mapped
    return exc


def _with(values_file: Path | None, kubernetes: str) -> list[str | Path]:
    files: list[str | Path] = ["--values", values_file] if values_file else []
    return [*files, *(["--kube-version", f"{kubernetes}.0"] if kubernetes else [])]


def _meaning(text: str) -> str:
    """Helm's error without warnings, log lines and its own prefixes."""
    noise = ("WARNING:", "level=", "I0", "W0", "Use --debug flag")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(noise)]
    return re.sub(r"^Error: (UPGRADE FAILED: |INSTALLATION FAILED: )?", "", "\n".join(lines))


def _pod_logs(stdout: str) -> str:
    _, marker, logs = stdout.partition("POD LOGS:")
    return marker + logs if marker else stdout


def _rollback_of(description: str) -> int:
    match = re.fullmatch(r"Rollback to (\d+)", description)
    return int(match[1]) if match else 0
