"""The Python packages of an image, as a CycloneDX document."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from releaser.models import Image

# Runs in the image, with nothing but its Python.
SCRIPT = """
import importlib.metadata, json
said = []
for found in importlib.metadata.distributions():
    about = found.metadata
    classified = [c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or [] if c.startswith("License ::")]
    licence = about.get("License-Expression") or about.get("License") or (classified or [""])[0]
    requires = [text for text in found.requires or [] if "extra ==" not in text]
    said.append({"name": about["Name"], "version": found.version, "licence": licence, "requires": requires})
print(json.dumps(said))
"""


def sbom(image: Image, run: Callable[[str], str]) -> str:
    """CycloneDX 1.6 as JSON; `run` gives a Python script to the image and returns what it prints.

    Without time and serial number: the same image has the same document.
    """
    packages: list[dict[str, Any]] = json.loads(run(SCRIPT))
    bom = Bom()
    whole = Component(name=image.repository, version=image.tag, type=ComponentType.CONTAINER, bom_ref=image.ref)
    bom.metadata.component = whole
    components = {_key(each["name"]): _component(each) for each in packages}
    bom.components.update(components.values())
    bom.register_dependency(whole, components.values())
    for each in packages:
        needed = (components.get(_key(_required(text))) for text in each["requires"])
        bom.register_dependency(components[_key(each["name"])], [component for component in needed if component])
    document = json.loads(make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string())
    document.pop("serialNumber", None)
    document["metadata"].pop("timestamp", None)
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def _component(package: dict[str, Any]) -> Component:
    licence = package["licence"].strip().splitlines()[0] if package["licence"].strip() else ""
    name, version = package["name"], package["version"]
    purl = PackageURL("pypi", name=_key(name), version=version)
    licences = [LicenseFactory().make_from_string(licence)] if licence else []
    return Component(name=name, version=version, purl=purl, bom_ref=str(purl), licenses=licences)


def _key(name: str) -> str:
    """Names as PyPI compares them (PEP 503)."""
    return name.lower().replace("_", "-").replace(".", "-")


def _required(text: str) -> str:
    """The name at the start of a requirement (PEP 508)."""
    return next((text[:i] for i, letter in enumerate(text) if not (letter.isalnum() or letter in "-_.")), text)
