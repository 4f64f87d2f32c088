"""What an account, a room and an address may take: the numbers, who is counted, and the refusals."""
