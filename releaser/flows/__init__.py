"""One module a verb: the sentences of the tool. Each declares as Protocols the few methods that it needs."""
