"""What Falcon does when more is asked of it than it can do."""
