"""Studies: the papers that pose the problem, computed anew; each is one command in `drivers`."""
