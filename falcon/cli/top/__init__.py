"""`falcon top`: the load and the problems of Falcon, read from its operations ports."""
