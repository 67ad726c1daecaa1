"""One HTTP/1.1 connection, as a download needs it."""
