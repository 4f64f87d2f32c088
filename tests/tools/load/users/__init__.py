"""The load test's promises and counts. Nothing here loads anything."""
