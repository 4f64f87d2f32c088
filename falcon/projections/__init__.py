"""From the log to the read tables: one pure function a projection, and the runners that apply them."""
