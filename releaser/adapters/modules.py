"""The Go workspace that programs are compiled in: toolchain/'s pins, with changed copies of a few modules."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

from releaser.adapters.process import Process
from releaser.errors import InvalidInput

GO_ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GOFLAGS": "-mod=readonly -buildvcs=false",
    # the checksum database doesn't know all of these; go.sum pins them all the same
    "GONOSUMDB": "sigs.k8s.io/*",
}


def workspace(process: Process, toolchain: Path, directory: Path) -> None:
    """Make `directory` a Go module like toolchain/. Raises InvalidInput when a patch doesn't fit its module."""
    part = directory.with_name(directory.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    shutil.copytree(toolchain / "cmd", part / "cmd")
    shutil.copy(toolchain / "go.sum", part)
    replacements = ""
    for module in tomllib.loads((toolchain / "patches.toml").read_text(encoding="utf-8"))["module"]:
        copy = Path("patched") / module["path"]
        _copy_module(process, toolchain, module, part / copy)
        _patch(module, part / copy)
        replacements += f"\nreplace {module['path']} => ./{copy}\n"
    pins = (toolchain / "go.mod").read_text(encoding="utf-8")
    (part / "go.mod").write_text(pins + replacements, encoding="utf-8")
    shutil.rmtree(directory, ignore_errors=True)
    part.rename(directory)


def _copy_module(process: Process, toolchain: Path, module: dict[str, Any], copy: Path) -> None:
    finished = process.run(
        ["go", "mod", "download", "-json", f"{module['path']}@{module['version']}"],
        doing=f"fetching {module['path']}",
        deadline_seconds=600,
        cwd=toolchain,
        env=GO_ENVIRONMENT,
    )
    fetched = json.loads(finished.stdout)
    if fetched["Sum"] != module["sum"]:
        raise InvalidInput(
            f"While fetching {module['path']} {module['version']}: its checksum is not {module['sum']}",
            detail=f"it is {fetched['Sum']}",
            hint="somebody changed the module: don't build it; compare both with the project's release",
        )
    # Go's cache is read-only, and so would be the copy
    shutil.copytree(fetched["Dir"], copy, copy_function=shutil.copyfile)
    for path in (copy, *copy.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)


def _patch(module: dict[str, Any], copy: Path) -> None:
    for name in module.get("delete", []):
        (copy / name).unlink()
    for edit in module["edit"]:
        path = copy / edit["file"]
        text = path.read_text(encoding="utf-8")
        if text.count(edit["old"]) != 1:
            raise InvalidInput(
                f"While patching {module['path']} {module['version']}: {edit['file']} has `{edit['old'].strip()}` "
                f"{text.count(edit['old'])} times, once is wanted",
                hint="write the edit in toolchain/patches.toml for this version anew",
            )
        path.write_text(text.replace(edit["old"], edit["new"]), encoding="utf-8")
