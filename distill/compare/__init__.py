"""Every loss under the same conditions: what is trained, how it is scored, what follows from the scores."""
