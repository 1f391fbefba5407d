"""The only importers of subprocess, pyhelm3, docker and kubernetes. Foreign errors end here and become our own."""
