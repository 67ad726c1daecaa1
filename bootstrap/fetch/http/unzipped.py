"""Bodies that are compressed although they should not be."""

from __future__ import annotations

import zlib

from bootstrap.fetch.http.connection import Connection
from bootstrap.fetch.http.head import Broken


class Unzipped:
    """The body of a server that compresses although it was asked not to."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._buffer = bytearray(64 * 1024)

    @property
    def at_end(self) -> bool:
        return self._connection.at_end and not self._inflate.unconsumed_tail

    def receive(self, view: memoryview) -> int:
        tail = self._inflate.unconsumed_tail
        if not tail:
            count = self._connection.receive(memoryview(self._buffer))
            tail = bytes(self._buffer[:count])
        try:
            plain = self._inflate.decompress(tail, len(view))
        except zlib.error as error:
            raise Broken("the compressed answer is damaged") from error
        view[: len(plain)] = plain
        return len(plain)
