"""A load test of Falcon: users by locust, what they look for, and the report."""
