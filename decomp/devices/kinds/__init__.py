"""Kinds of devices: one module each, with its settings, their units and sources, and its rows."""
