"""What was known about a lead at a moment: declarations, the one kernel, snapshots."""
