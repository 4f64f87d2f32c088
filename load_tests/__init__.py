"""A load test of Falcon: users by locust, their checks, and the report."""
