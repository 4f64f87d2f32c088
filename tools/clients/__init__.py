"""What the client packages have from the documents of the API."""
