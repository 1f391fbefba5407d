"""releaser: builds, delivers, deploys and rolls back one service packaged as a Helm chart."""

__version__ = "1.0.0"
