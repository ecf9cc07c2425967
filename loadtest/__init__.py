"""Load and latency, measured side by side."""
