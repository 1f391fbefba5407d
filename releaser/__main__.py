"""``python -m releaser``."""

from releaser.cli import main

main()
