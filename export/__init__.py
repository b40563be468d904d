"""Checkpoint -> bundle -> engine."""
