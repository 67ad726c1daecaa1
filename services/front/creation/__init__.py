"""From a request that was read to a job in the queue, once; photos are checked on the way."""
