"""Orchestration over ports and core; makes ids and timestamps, knows neither HTTP nor Redis."""
