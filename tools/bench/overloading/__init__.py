"""What Falcon does when it is asked for more than it can do."""
