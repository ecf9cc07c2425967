"""Deja's services as tools of the Model Context Protocol: over HTTP at /mcp, over stdio by `deja mcp`.

A tool is a request to a route of Deja: its checks, bounds, errors and tenant are the route's, and nothing is decided twice. Where
the request goes is the transport's: into the same process at /mcp (`inside`), over the network for stdio (`bridge`).
"""
