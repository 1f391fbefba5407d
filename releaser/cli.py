"""The command line: options in, one flow called, its result printed. The one `except ReleaserError`.

Heavy libraries are imported by the command that needs them, so that --help and --version stay fast.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from releaser import __version__
from releaser.console import Form, Output, Printer
from releaser.errors import EnvironmentUnfit, InvalidInput, ReleaserError
from releaser.interrupts import Interrupted, install

if TYPE_CHECKING:
    from releaser.flows.guard import Consent
    from releaser.flows.target import Target
    from releaser.settings import Project
    from releaser.wiring import Wiring

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Build, deliver, deploy and roll back one service packaged as a Helm chart.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

EnvironmentName = Annotated[str, typer.Argument(metavar="ENV", help="A values-ENV.yaml of the project.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask, even for a protected environment.")]
ContextName = Annotated[
    str | None, typer.Option("--context", help="Refuse unless this is the environment's kube context.")
]
WaitLock = Annotated[
    bool, typer.Option("--wait-lock/--no-wait-lock", help="Wait while somebody else releases here, or refuse.")
]
Profile = Annotated[str, typer.Option("--profile", help="The Minikube profile.")]

ExitCode = Annotated[bool, typer.Option("--exit-code", help="End with 10 when there is something to tell.")]

CHANGED = 10
"""The exit code of `--exit-code`, and of a promise that doesn't hold: not an error, and none of the errors' codes."""


@dataclass(frozen=True)
class Session:
    """One run of the command line: what its global options say."""

    project_directory: Path
    printer: Printer

    @property
    def project(self) -> Project:
        from releaser.settings import load_project

        return load_project(self.project_directory.resolve())

    @cached_property
    def wiring(self) -> Wiring:
        from releaser.wiring import Wiring

        return Wiring(self.printer)


_session = Session(Path(), Printer(Output.TEXT))


def main() -> NoReturn:
    """The entry point."""
    code = run()
    # Watches and logs may still be read beside us. The interpreter's own way out would abort if one of them wrote now.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run() -> int:
    """The exit code: ReleaserError's own, 130 after Ctrl-C. Anything else that is raised keeps its traceback."""
    install()
    try:
        app(standalone_mode=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    except ReleaserError as error:
        _session.printer.error(error)
        return error.exit_code
    except Interrupted:
        _session.printer.close()
        typer.echo("interrupted; `releaser status ENV` shows what is there", err=True)
        return 130
    return 0


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"releaser {__version__}")
        raise typer.Exit


@app.callback()
def root(
    project: Annotated[Path, typer.Option("--project", help="Directory of releaser.yaml and the chart.")] = Path(),
    output: Annotated[Output, typer.Option("--output", help="Form of progress and result.")] = Output.TEXT,
    verbose: Annotated[bool, typer.Option("-v", help="Print every external command.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    global _session
    _session = Session(project, Printer(output, verbose=verbose))


# -- the local cluster -------------------------------------------------------------------------------------------------


@app.command()
def doctor() -> None:
    """What is needed, what was found, and what to do about it."""
    from releaser.flows.doctor import doctor as flow

    project, wiring = _session.project, _session.wiring
    diagnosis = flow(project, wiring.probe(project), wiring.server_version)
    _session.printer.result(diagnosis)
    if not diagnosis.healthy:
        raise typer.Exit(EnvironmentUnfit.exit_code)


@app.command()
def up(
    profile: Profile = "releaser",
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="Add nodes until there are so many.")] = 1,
) -> None:
    """Start the local Minikube, building what this machine lacks."""
    from releaser.flows.up import up as flow

    machine = _session.wiring.machine(_session.project, profile)
    _session.printer.result(flow(machine, _session.printer, nodes))


@app.command()
def down(
    profile: Profile = "releaser",
    delete: Annotated[bool, typer.Option("--delete", help="Delete it with everything inside.")] = False,
) -> None:
    """Stop the local Minikube."""
    from releaser.flows.down import down as flow

    _session.printer.result(flow(_session.wiring.minikube(profile), _session.printer, delete=delete))


# -- image and chart ---------------------------------------------------------------------------------------------------


@app.command()
def build(
    env: EnvironmentName,
    sbom: Annotated[
        Path | None, typer.Option("--sbom", metavar="FILE", help="Write the image's Python packages as CycloneDX.")
    ] = None,
) -> None:
    """Build the image; its tag is derived from its content."""
    from releaser.flows.build import build as flow
    from releaser.flows.build import write_sbom

    project = _session.project
    project.environment(env)
    wiring = _session.wiring
    built = flow(project, wiring.images, wiring.source(project), _session.printer)
    if sbom is not None:
        write_sbom(wiring.images, built.image, sbom, _session.printer)
    _session.printer.result(built)


@app.command()
def load(env: EnvironmentName) -> None:
    """Build the image and bring it into ENV's nodes."""
    from releaser.flows.build import build as build_flow
    from releaser.flows.build import load as flow

    project = _session.project
    wiring = _session.wiring
    store = wiring.store(project.environment(env))
    image = build_flow(project, wiring.images, wiring.source(project), _session.printer, store).image
    _session.printer.result(flow(project, image, store, _session.printer))


@app.command()
def lint(
    chart: Annotated[
        Path | None, typer.Argument(metavar="[CHART]", help="Any chart's directory. Default: the project's chart.")
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what is safe to mend, and show it.")] = False,
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option("--diff", metavar="ENV ENV", help="Show instead what two environments render differently."),
    ] = None,
    base: Annotated[
        str, typer.Option("--base", metavar="REF", help="What the chart's version is compared with. Default: main.")
    ] = "",
    form: Annotated[Form, typer.Option("--format", help="Form of the findings.")] = Form.TEXT,
) -> None:
    """Check chart and every environment; all findings at once."""
    from releaser.flows.contrast import contrast
    from releaser.flows.lint import Scope
    from releaser.flows.lint import fix as fix_flow
    from releaser.flows.lint import lint as flow
    from releaser.settings import chart_alone

    project, wiring = chart_alone(chart.resolve()) if chart else _session.project, _session.wiring
    if diff is not None:
        one, other = (project.environment(each) for each in diff)
        _session.printer.result(contrast(project, one, other, wiring.charts))
        return
    fixed = fix_flow(project, project.environments, wiring.charts) if fix else ()
    scope = Scope(repository=wiring.repository(project.chart), base=base)
    linted = replace(flow(project, project.environments, wiring.charts, _session.printer, scope), fixed=fixed)
    _session.printer.linted(linted, form)
    if linted.errors:
        raise typer.Exit(InvalidInput.exit_code)


@app.command()
def package(
    directory: Annotated[Path, typer.Option("--to", metavar="DIR", help="Where to write it.")] = Path("dist"),
) -> None:
    """Package the chart: the same content makes the same bytes."""
    from releaser.flows.package import package as flow

    _session.printer.result(flow(_session.project, _session.wiring.archives(), directory, _session.printer))


@app.command()
def push(
    repository: Annotated[str, typer.Argument(metavar="oci://HOST/PATH")],
    plain_http: Annotated[bool, typer.Option("--plain-http", help="The registry speaks no TLS.")] = False,
) -> None:
    """Push the chart to a registry, which keeps what it has."""
    from releaser.flows.package import package as package_flow
    from releaser.flows.package import push as flow

    project, archives = _session.project, _session.wiring.archives(plain_http=plain_http)
    with TemporaryDirectory(prefix="releaser-") as directory:
        packaged = package_flow(project, archives, Path(directory), _session.printer)
        _session.printer.result(flow(project, archives, repository, packaged, _session.printer))


# -- releases ----------------------------------------------------------------------------------------------------------


@app.command()
def plan(
    env: EnvironmentName,
    file: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Build the image and write the plan there.")
    ] = None,
    exit_code: ExitCode = False,
    context: ContextName = None,
) -> None:
    """What a deploy would change, against the live cluster."""
    from releaser.flows.plan import plan as flow
    from releaser.plans import save_plan

    project = _session.project
    target = _target(project, env, context)
    workshop = _session.wiring.workshop(target.environment)
    planned = flow(project, target, workshop, target.live, bind_image=file is not None)
    if file is not None:
        save_plan(planned, file)
    _session.printer.result(planned)
    if exit_code and planned.changed:
        raise typer.Exit(CHANGED)


@app.command()
def deploy(
    env: EnvironmentName,
    plan_file: Annotated[
        Path | None, typer.Option("--plan", metavar="FILE", help="Do exactly what this plan says, or nothing.")
    ] = None,
    yes: Yes = False,
    wait: WaitLock = True,
    context: ContextName = None,
) -> None:
    """Release ENV: build, upgrade, follow, test; or go back."""
    from releaser.flows.deploy import Order
    from releaser.flows.deploy import deploy as flow
    from releaser.plans import load_plan

    project = _session.project
    target = _target(project, env, context)
    order = Order(plan=load_plan(plan_file) if plan_file else None, wait=wait)
    workshop = _session.wiring.workshop(target.environment)
    _session.printer.result(flow(project, target, workshop, _consent(yes), order))


@app.command()
def dev(
    env: Annotated[str, typer.Argument(metavar="[ENV]", help="A values-ENV.yaml.")] = "dev",
    context: ContextName = None,
) -> None:
    """Release to ENV at each save, without proof, until Ctrl-C."""
    from releaser.flows.dev import dev as flow

    root = _session.project.root
    target = _target(_session.project, env, context)
    workshop = _session.wiring.workshop(target.environment)
    containers = _session.wiring.containers(target.environment)
    with _session.wiring.saves(root) as saves:
        _session.printer.result(flow(lambda: _session.project, target, workshop, saves, containers))


@app.command()
def promote(
    origin: Annotated[str, typer.Argument(metavar="FROM", help="Where the image was proven good.")],
    env: Annotated[str, typer.Argument(metavar="TO", help="Where it goes.")],
    yes: Yes = False,
    wait: WaitLock = True,
    context: ContextName = None,
) -> None:
    """Release to TO the very image that runs in FROM."""
    from releaser.flows.promote import promote as flow

    project, wiring = _session.project, _session.wiring
    goal, source = _target(project, env, context), _target(project, origin, None)
    workshop = wiring.workshop(goal.environment)
    store = wiring.store(source.environment)
    _session.printer.result(flow(project, source, store, goal, workshop, _consent(yes), wait=wait))


@app.command()
def rollback(
    env: EnvironmentName,
    revision: Annotated[int | None, typer.Argument(metavar="[REV]", help="Default: the newest good one.")] = None,
    yes: Yes = False,
    wait: WaitLock = True,
    context: ContextName = None,
) -> None:
    """Return to REV, or to the newest revision proven good."""
    from releaser.flows.rollback import rollback as flow

    target = _target(_session.project, env, context)
    _session.printer.result(flow(target, revision, _consent(yes), wait=wait))


@app.command()
def drift(
    env: EnvironmentName,
    fix: Annotated[bool, typer.Option("--fix", help="Put the live objects right.")] = False,
    exit_code: ExitCode = False,
    yes: Yes = False,
    wait: WaitLock = True,
    context: ContextName = None,
) -> None:
    """Live fields that differ from the release, and who set them."""
    from releaser.flows.drift import drift as flow

    target = _target(_session.project, env, context)
    drifted = flow(target, target.live, _consent(yes), fix=fix, wait=wait)
    _session.printer.result(drifted)
    if exit_code and drifted.fields and not drifted.fixed:
        raise typer.Exit(CHANGED)


@app.command()
def why(
    env: EnvironmentName,
    object_name: Annotated[str, typer.Argument(metavar="OBJECT", help="KIND/NAME, or KIND where it is clear.")],
    field: Annotated[str, typer.Argument(metavar="FIELD", help="Its address, or an end of it that no other has.")],
    context: ContextName = None,
) -> None:
    """Where a live field comes from, or who set it."""
    from releaser.flows.why import why as flow

    project = _session.project
    target = _target(project, env, context)
    _session.printer.result(flow(project, target, _session.wiring.drafts, object_name, field))


@app.command()
def verify(
    env: EnvironmentName,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[EXPERIMENT]...", help="By name; all when none is named.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Show the experiments, and try none.")] = False,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write it all as one HTML file.")
    ] = None,
    budget: Annotated[
        int | None, typer.Option("--budget", metavar="N", min=0, help="End as soon as more than N requests are lost.")
    ] = None,
    yes: Yes = False,
    wait: WaitLock = True,
    context: ContextName = None,
) -> None:
    """Experiments on the running service: do its promises hold?"""
    from releaser.flows.experiments.catalogue import choose
    from releaser.flows.verify import Order
    from releaser.flows.verify import verify as flow
    from releaser.report import require_writable, save_report
    from releaser.verification import Promises

    project = _session.project
    experiments = choose(names or ())
    if listed:
        project.environment(env)
        _session.printer.result(Promises(tuple(each.promise for each in experiments)))
        return
    target = _target(project, env, context)
    if report is not None:
        require_writable(report)
    hands = _session.wiring.hands(target.environment)
    verified = flow(project, target, hands, experiments, _consent(yes), Order(budget, wait))
    if report is not None:
        save_report(verified, report)
    _session.printer.result(verified)
    if not verified.holds:
        raise typer.Exit(CHANGED)


@app.command()
def status(env: EnvironmentName, context: ContextName = None) -> None:
    """What runs now: revision, image, pods, URL, requests."""
    from releaser.flows.look import status as flow

    target = _target(_session.project, env, context)
    _session.printer.result(flow(target, _session.wiring.traffic_sources(target.environment)))


@app.command()
def history(env: EnvironmentName, context: ContextName = None) -> None:
    """Every revision: when, who, commit, image, status, verdict."""
    from releaser.flows.look import show_history as flow

    _session.printer.result(flow(_target(_session.project, env, context)))


@app.command()
def logs(
    env: EnvironmentName,
    pod: Annotated[str | None, typer.Option("--pod", help="One pod, by name or by its last part.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="Lines from the end.")] = 50,
    previous: Annotated[bool, typer.Option("--previous", help="Of the run before the last restart.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    context: ContextName = None,
) -> None:
    """The logs of the release's pods."""
    from releaser.flows.look import logs as flow

    target = _target(_session.project, env, context)
    flow(target, _session.printer.raw, pod=pod, lines=lines, previous=previous, follow=follow)


@app.command("open")
def open_(
    env: EnvironmentName,
    browser: Annotated[bool, typer.Option(help="Open a browser, too (on a terminal).")] = True,
    context: ContextName = None,
) -> None:
    """Show where the service answers, forwarding it if need be."""
    from releaser.flows.look import open_service
    from releaser.models import Opened

    target = _target(_session.project, env, context)

    def show(opened: Opened) -> None:
        _session.printer.result(opened)
        if browser and sys.stdout.isatty():
            typer.launch(opened.url)
        if opened.url.startswith("http://127.0.0.1:"):
            _wait_for_interrupt()

    open_service(target, _session.wiring.forwarder(target.environment), show)


@app.command()
def prune(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove them; without it they are only shown.")] = False,
    wait: WaitLock = True,
) -> None:
    """Remove images that no rollback can need; first only shows them."""
    from releaser.flows.prune import prune as flow
    from releaser.settings import Delivery

    project, wiring = _session.project, _session.wiring
    delivered = [each for each in project.environments if each.delivery is Delivery.MINIKUBE]
    targets = [wiring.target(project, each) for each in delivered]
    shelves = wiring.shelves(delivered)
    pruned = flow(project, targets, shelves, wiring.images, _session.printer, dry_run=not yes, wait=wait)
    _session.printer.result(pruned)


@app.command()
def destroy(env: EnvironmentName, yes: Yes = False, wait: WaitLock = True, context: ContextName = None) -> None:
    """Remove ENV's release and its history."""
    from releaser.flows.destroy import destroy as flow

    target = _target(_session.project, env, context)
    store = _session.wiring.store(target.environment)
    _session.printer.result(flow(target, store, _consent(yes), wait=wait))


# -- helpers -----------------------------------------------------------------------------------------------------------


def _target(project: Project, env: str, context: str | None) -> Target:
    from releaser.flows.guard import require_context

    environment = project.environment(env)
    require_context(environment, context)
    return _session.wiring.target(project, environment)


def _consent(yes: bool) -> Consent:
    from releaser.flows.guard import Consent

    return Consent(yes, _session.printer.ask if sys.stdin.isatty() and sys.stderr.isatty() else None)


def _wait_for_interrupt() -> None:
    import threading

    threading.Event().wait()
