"""People and open rooms are found by the words of their names."""
