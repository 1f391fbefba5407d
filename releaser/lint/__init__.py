"""One module a layer, each a function from the project to findings."""
