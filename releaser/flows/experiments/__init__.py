"""The experiments of `releaser verify`: one module a subject; catalogue.py names them all."""
