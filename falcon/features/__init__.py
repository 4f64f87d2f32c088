"""Features: all that people can do in Falcon. Each feature is a folder: its rules, its shapes in the log, its tables,
its API."""
