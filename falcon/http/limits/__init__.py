"""What an account, a room and an address may take: the numbers, how they are counted, and the refusals."""
