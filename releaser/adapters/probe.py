"""What `doctor` looks at: tools, the Docker engine, the Go compiler."""

from __future__ import annotations

import shutil

from releaser.adapters.engine import Engine
from releaser.adapters.process import Process
from releaser.adapters.tools import REQUIREMENTS, Tools


class MachineProbe:
    def __init__(self, process: Process, tools: Tools, engine: Engine) -> None:
        self._process = process
        self._tools = tools
        self._engine = engine

    def wanted(self, name: str) -> str:
        return REQUIREMENTS[name].wanted

    def tool(self, name: str) -> str:
        found = self._tools.find(name)
        return f"{found.version} {found.path}" if found else ""

    def engine(self) -> str:
        return self._engine.version()

    def go(self) -> str:
        if shutil.which("go") is None:
            return ""
        finished = self._process.run(
            ["go", "env", "GOVERSION"], doing="asking Go for its version", deadline_seconds=20, check=False
        )
        return finished.stdout.strip()
