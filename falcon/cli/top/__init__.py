"""What Falcon does right now, and what hurts it: from what its operations ports say, read again and again."""
