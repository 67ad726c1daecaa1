"""Routes, schemas, auth and errors of the front process. No torch, ever."""
