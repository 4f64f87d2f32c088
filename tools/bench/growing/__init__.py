"""How costs grow with a site: a module for each term, which measures Falcon's own classes by counting."""
