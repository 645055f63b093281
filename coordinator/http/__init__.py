"""The HTTP door: one table of routes, from which router, authorisation and OpenAPI are made.

`app.build_app` is the way in. Nothing here decides about tasks: that is the service's.
"""
