"""Day by day: which leads go to sales now, and which of those that went come back."""
