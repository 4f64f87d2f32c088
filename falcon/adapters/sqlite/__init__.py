"""The embedded stores: journal, snapshots and read tables in one SQLite file, so that one commit makes all of it."""
