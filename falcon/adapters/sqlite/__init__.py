"""The embedded stores: journal, snapshots and read tables share one SQLite file, so that one commit writes all of
it."""
