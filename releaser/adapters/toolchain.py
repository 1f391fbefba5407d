"""Builds what this machine lacks, from toolchain/: programs from their Go modules, images from Debian's packages.

Everything is keyed by a hash of toolchain/, written under a temporary name and renamed: killed at any moment, the next
run goes on from the last whole piece.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from releaser.adapters.docker import LOCAL_BASE, LOCAL_BUILD_BASE
from releaser.adapters.engine import Engine
from releaser.adapters.modules import GO_ENVIRONMENT, workspace
from releaser.adapters.process import Process
from releaser.adapters.tools import Tools, bin_directory, cache_directory
from releaser.errors import ToolMissing
from releaser.models import LocalNode

_COMPILE_SECONDS = 3600.0
_IMAGE_SECONDS = 1800.0
_DEBIAN = "releaser/debian:bookworm"
# as toolchain/node/pod-network.yaml names it; each node has that of its own image
POD_NETWORK = "releaser/pod-network:local"
_VERSION_VARIABLES = (
    "k8s.io/component-base/version.gitVersion={KUBERNETES}",
    "k8s.io/component-base/version.gitMajor=1",
    "k8s.io/component-base/version.gitMinor={KUBERNETES_MINOR}",
    "k8s.io/component-base/version.gitTreeState=archive",
    "k8s.io/client-go/pkg/version.gitVersion={KUBERNETES}",
    "k8s.io/minikube/pkg/version.version={MINIKUBE}",
    "k8s.io/minikube/pkg/version.gitCommitID=from-module",
    "k8s.io/minikube/pkg/version.storageProvisionerVersion=v5",
    "helm.sh/helm/v4/internal/version.version={HELM}",
    "sigs.k8s.io/cri-tools/pkg/version.Version={CRICTL}",
)
_PACKAGES = {
    "node": "./cmd/node",
    "pause": "./cmd/pause",
    "crictl": "sigs.k8s.io/cri-tools/cmd/crictl",
    "helm": "helm.sh/helm/v4/cmd/helm",
    "minikube": "k8s.io/minikube/cmd/minikube",
}

OnLine = Callable[[str], None]


class Toolchain:
    def __init__(self, process: Process, tools: Tools, engine: Engine, directory: Path) -> None:
        self._process = process
        self._tools = tools
        self._engine = engine
        self._directory = directory

    @cached_property
    def versions(self) -> dict[str, str]:
        """versions.env, and the Kubernetes minor as a number of its own."""
        lines = (self._directory / "versions.env").read_text(encoding="utf-8").splitlines()
        found = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
        return {**found, "KUBERNETES_MINOR": found["KUBERNETES"].split(".")[1]}

    @cached_property
    def key(self) -> str:
        """Hash of all inputs: a changed pin builds anew."""
        digest = hashlib.sha256()
        for path in sorted(path for path in self._directory.rglob("*") if path.is_file()):
            digest.update(str(path.relative_to(self._directory)).encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()[:12]

    @property
    def local_node(self) -> LocalNode:
        return LocalNode(
            image=self._node_image,
            kubernetes=self.versions["KUBERNETES"],
            metrics_server=self.versions["METRICS_SERVER"],
            pod_network=self._directory / "node" / "pod-network.yaml",
        )

    @property
    def _node_image(self) -> str:
        return f"releaser/node:{self.key}"

    def log(self, name: str) -> Path:
        return cache_directory() / "log" / f"{name}.log"

    # -- programs ------------------------------------------------------------------------------------------------------

    def has_tool(self, name: str) -> bool:
        return self._tools.find(name) is not None

    def has_program(self, name: str) -> bool:
        return (self._bin / name).exists()

    def compile(self, names: Sequence[str], on_line: OnLine) -> None:
        """Build programs from their pinned modules, all in one go: while one is linked, others still compile.

        Raises ToolMissing without Go, ToolFailed with the compiler's last lines.
        """
        if shutil.which("go") is None:
            raise ToolMissing(
                f"While compiling {', '.join(names)}: Go is not installed",
                hint="install Go 1.21 or newer (it fetches the release that go.mod names): apt-get install golang",
            )
        source = self._home / "src"
        if not source.exists():
            workspace(self._process, self._directory, source)
        # variables of packages that a program doesn't have are no error
        variables = " ".join(f"-X {each.format(**self.versions)}" for each in _VERSION_VARIABLES)
        part = self._home / "bin.part"
        compiled = itertools.count(1)
        self._process.stream(
            [
                *("go", "build", "-v", "-trimpath", "-gcflags=all=-dwarf=false", "-ldflags", f"-s -w {variables}"),
                *("-o", f"{part}/", *(_PACKAGES[name] for name in names)),
            ],
            doing=f"compiling {', '.join(names)}",
            deadline_seconds=_COMPILE_SECONDS,
            log=self.log("compile"),
            on_line=lambda line: on_line(f"{next(compiled)} packages, {line}"),
            cwd=source,
            env={**GO_ENVIRONMENT, "GOGC": "400"},
        )
        self._bin.mkdir(parents=True, exist_ok=True)
        for name in names:
            (part / name).rename(self._bin / name)

    def publish(self, name: str) -> None:
        """Put a built program where `Tools` looks; kubectl is the node's binary under its own name."""
        target = self._bin / ("node" if name == "kubectl" else name)
        link = bin_directory() / name
        link.parent.mkdir(parents=True, exist_ok=True)
        part = link.with_name(f".{name}.{os.getpid()}")
        part.unlink(missing_ok=True)
        part.symlink_to(target)
        part.rename(link)
        self._tools.forget()

    @property
    def _bin(self) -> Path:
        return self._home / "bin"

    @property
    def _home(self) -> Path:
        return cache_directory() / "toolchain" / self.key

    # -- images --------------------------------------------------------------------------------------------------------

    def has_node_image(self) -> bool:
        return self._has_image(self._node_image)

    def _has_image(self, ref: str) -> bool:
        finished = self._process.run(
            ["docker", "image", "inspect", "--format", "{{.Id}}", ref],
            doing=f"looking for {ref}",
            deadline_seconds=30,
            check=False,
        )
        return finished.exit_status == 0

    def debian(self, on_line: OnLine) -> None:
        """The smallest Debian: what every image of ours stands on."""
        if self._has_image(_DEBIAN):
            return
        if shutil.which("mmdebstrap") is None:
            self._engine.install("mmdebstrap", "debian-archive-keyring")
        self._process.stream(
            [self._directory / "debian.sh", _DEBIAN],
            doing="making a Debian root file system",
            deadline_seconds=_IMAGE_SECONDS,
            log=self.log("debian"),
            on_line=on_line,
        )

    def python_bases(self, on_line: OnLine) -> None:
        """The bases of the service's image, for where python:slim can't be pulled."""
        for target, ref in (("base", LOCAL_BASE), ("build", LOCAL_BUILD_BASE)):
            self._image(ref, self._directory / "python", "python-bases", on_line, target=target)

    def node(self, on_line: OnLine) -> None:
        """The node image: Debian, the node's programs, and the control plane's images in one archive."""
        context = self._home / "node"
        shutil.rmtree(context, ignore_errors=True)
        shutil.copytree(self._directory / "node", context)
        for name in ("node", "crictl", "pause"):
            os.link(self._bin / name, context / name)
        refs = self._control_plane(context, on_line)
        archive = context / "images.tar"
        self._process.run(
            ["docker", "save", "-o", archive, *refs], doing="saving the control plane's images", deadline_seconds=300
        )
        self._image(
            self._node_image, context, "node-image", on_line, arguments={"KUBERNETES": self.versions["KUBERNETES"]}
        )
        shutil.rmtree(context)

    def _control_plane(self, context: Path, on_line: OnLine) -> list[str]:
        versions, plain = self.versions, "control-plane"
        names = {
            **{
                f"registry.k8s.io/{name}:{versions['KUBERNETES']}": plain
                for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
            },
            f"registry.k8s.io/etcd:{versions['ETCD']}": plain,
            f"registry.k8s.io/coredns/coredns:{versions['COREDNS']}": "coredns",
            f"registry.k8s.io/metrics-server/metrics-server:{versions['METRICS_SERVER']}": "metrics-server",
            f"registry.k8s.io/pause:{versions['PAUSE']}": "pause",
            POD_NETWORK: "pod-network",
        }
        for ref, target in names.items():
            self._image(ref, context, "control-plane", on_line, target=target, dockerfile="images.Dockerfile")
        return list(names)

    def _image(
        self,
        ref: str,
        context: Path,
        log: str,
        on_line: OnLine,
        *,
        target: str = "",
        dockerfile: str = "Dockerfile",
        arguments: dict[str, str] | None = None,
    ) -> None:
        given = {"DEBIAN": _DEBIAN, **(arguments or {})}
        self._process.stream(
            [
                *("docker", "build", "--network", "host", "--tag", ref, "--file", context / dockerfile),
                *(("--target", target) if target else ()),
                *(word for name, value in given.items() for word in ("--build-arg", f"{name}={value}")),
                context,
            ],
            doing=f"building image {ref}",
            deadline_seconds=_IMAGE_SECONDS,
            log=self.log(log),
            on_line=on_line,
            # Debian's engine has no buildx
            env={"DOCKER_BUILDKIT": "0"},
        )
