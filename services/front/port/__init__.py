"""The port below the app: connections, TLS, a name for each request, the end."""
