"""Tables at the door: the contract of leads, events and outcomes, and who is who."""
