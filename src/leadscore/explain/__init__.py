"""Reasons that add up to the score, in words and as a card."""
