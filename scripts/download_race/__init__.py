"""What the comparison of downloaders is made of: the servers, the link, the clients."""
