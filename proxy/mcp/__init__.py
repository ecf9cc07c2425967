"""Deja's services as tools of the Model Context Protocol, over HTTP at /mcp, and over standard input and output.

A tool is a request to a route of Deja: its checks, bounds, errors and tenant are the route's, and nothing is decided twice. Where
the request goes is a `Caller`'s business: into the same process (`inside`), or to a running Deja (`outside`).
"""
