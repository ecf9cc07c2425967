"""The dashboard: static files, served by `api.dashboard`. No build step: what lies here is what a browser runs."""
