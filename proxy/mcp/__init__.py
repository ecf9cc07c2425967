"""Deja's services as tools of the Model Context Protocol, over HTTP at /mcp.

A tool is a request to a route of Deja: its checks, bounds, errors and tenant are the route's, and nothing is decided twice. Where
the request goes is a `Caller`'s business: here into the same process (`inside`).
"""
