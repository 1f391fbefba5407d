"""The documentation as a site: `make docs`, into build/site.

The site has the tree of the repository, so that each link works in both, and README.md is its first page. Nothing is
loaded from elsewhere: the theme has no fonts of a host, and the search's index is a file beside the pages.
"""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx

project = "flask-hello and releaser"
html_title = project
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["README.md", "CHANGELOG.md", "docs/**.md", "charts/flask-hello/README.md"]
# not walked through
exclude_patterns = [".*", "build", "dist", "incidents", "tests", "toolchain", "checks"]

myst_heading_anchors = 4
myst_enable_extensions = ["tasklist"]
html_theme = "furo"
html_favicon = "../charts/flask-hello/icon.svg"
html_copy_source = False
html_show_copyright = False

# A page that none of these names is a warning, and each warning ends the build.
PAGES = {
    "Begin": ["docs/getting-started", "docs/from-kustomize"],
    "Use": [
        "docs/real-cluster",
        "docs/ci-cd",
        "docs/operations",
        "docs/observability",
        "The chart's values <charts/flask-hello/README>",
    ],
    "How it works": [
        "docs/architecture",
        "docs/verify",
        "docs/analysis",
        "docs/deploys",
        "docs/images",
        "docs/lint",
        "docs/rules",
        "docs/chart",
        "docs/mutation",
        "docs/toolchain",
        "docs/adr/0001-recorded-good",
    ],
    "News": ["CHANGELOG"],
}


def add_contents(app: Sphinx, docname: str, source: list[str]) -> None:
    """Here and not in README.md, which is read as it is, too."""
    if docname == root_doc:
        for caption, pages in PAGES.items():
            source[0] += "\n```{toctree}\n" + f":caption: {caption}\n:hidden:\n\n" + "\n".join(pages) + "\n```\n"


def add_index(app: Sphinx, error: Exception | None) -> None:
    if error is None:
        page = f'<!doctype html><meta http-equiv="refresh" content="0; url={root_doc}.html"><title>{project}</title>\n'
        Path(app.outdir, "index.html").write_text(page, encoding="utf-8")


def setup(app: Sphinx) -> None:
    app.connect("source-read", add_contents)
    app.connect("build-finished", add_index)
