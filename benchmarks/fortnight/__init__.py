"""Fourteen nights of a shop whose catalog changes, and of what can go wrong in them."""
