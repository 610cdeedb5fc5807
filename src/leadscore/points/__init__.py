"""Points learned from outcomes, and hand-set points held against them."""
