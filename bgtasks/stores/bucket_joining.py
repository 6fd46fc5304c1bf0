"""Joining in S3: it copies what is large by itself, and is sent what is small, as pieces of one multi-part upload.

All requests are sent by threads, and what interrupts the joining (a signal, a limit) comes to the thread of the step:
so that it is always known what has been begun, and must be aborted. What a killed process leaves is an unfinished
upload, as with any other.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Self

from bgtasks.errors import TransientError
from bgtasks.extras import needs
from bgtasks.stores.joining import Joined, PartObject, digested
from bgtasks.stores.pieces import Piece
from bgtasks.stores.s3 import AT_ONCE, Place

#: Seconds between two looks whether it is to be ended.
LOOKS = 0.5
#: Answers' codes that are no refusal: it took too long, or there was too much.
PASSING = 408, 429


class Refused(Exception):
    """The service does not make one object of several like this."""


def join(
    place: Place,
    pieces: Sequence[Piece],
    parts: Sequence[PartObject],
    key: str,
    chunks: Callable[[PartObject], Iterator[bytes]],
    watch: Callable[[], None],
) -> Joined:
    """Raises: Refused, and as ``Store.join``; nothing is left then."""
    with _Upload(place, key, watch) as upload:
        upload.begin(pieces)
        joined = digested(parts, lambda part: map(upload.passed, chunks(part)), upload.look)
        upload.finish(joined.size)
    return joined


class _Upload:
    """A multi-part upload that is aborted unless it was finished."""

    def __init__(self, place: Place, key: str, watch: Callable[[], None]) -> None:
        self._client, self._where, self._encryption = place.client, place.where(key), dict(place.encryption)
        self._place, self._watch = place, watch
        self._copies, self._others = ThreadPoolExecutor(AT_ONCE, "copy"), ThreadPoolExecutor(1, "join")
        self._upload: dict[str, str] = {}
        self._is_completing = False
        self._tags: dict[int, Future[str]] = {}  # of the pieces, by their numbers
        self._fault: BaseException | None = None
        self._to_send: deque[tuple[int, Piece]] = deque()
        self._at, self._block = 0, bytearray()
        self._sending: Future[str] | None = None

    def __enter__(self) -> Self:
        return self

    def begin(self, pieces: Sequence[Piece]) -> None:
        """Let the service copy what it is to copy."""
        self._waited(self._do(self._others, self._create))
        for number, piece in enumerate(pieces, 1):
            if piece.source is None:
                self._to_send.append((number, piece))
            else:
                self._tags[number] = self._do(self._copies, self._copy, number, piece.source.key, piece.range)

    def passed(self, chunk: bytes) -> bytes:
        """The next bytes of the whole: those of pieces that are to be sent are."""
        start, stop = self._at, self._at + len(chunk)
        while self._to_send and self._to_send[0][1].start < stop:
            number, piece = self._to_send[0]
            self._block += chunk[max(piece.start - start, 0) : piece.stop - start]
            if piece.stop > stop:
                break
            self._to_send.popleft()
            self._send(number)
        self._at = stop
        return chunk

    def look(self) -> None:
        """Whether to go on. Raises: what `watch` does, and what a request did."""
        self._watch()
        if self._fault is not None:
            raise _told(self._fault)

    def finish(self, size: int) -> None:
        """Make the object whole. Raises: Refused, also where the service has copied something else."""
        tags = [{"PartNumber": number, "ETag": self._waited(tag)} for number, tag in sorted(self._tags.items())]
        self._is_completing = True
        if self._waited(self._do(self._others, self._complete, tags)) != size:
            raise Refused("the object has another size")

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        try:
            for threads in (self._copies, self._others):
                threads.shutdown(cancel_futures=True)  # what is under way could be stored after the upload was aborted
        finally:  # also if that is interrupted
            if error is not None:
                self._give_up()
            self._client.close()

    def _give_up(self) -> None:
        with contextlib.suppress(*_faults()):
            if self._upload:
                self._client.abort_multipart_upload(**self._where, **self._upload)
        with contextlib.suppress(*_faults()):
            if self._is_completing:  # and is maybe whole already
                self._client.delete_object(**self._where)

    def _send(self, number: int) -> None:
        if self._sending is not None:  # one at a time: each of them is in memory
            self._waited(self._sending)
        block, self._block = self._block, bytearray()
        self._tags[number] = self._sending = self._do(self._others, self._put, number, block)

    def _do(self, threads: ThreadPoolExecutor, request: Callable[..., Any], *arguments: Any) -> Future[Any]:
        def done() -> Any:
            try:
                return request(*arguments)
            except BaseException as error:
                self._fault = self._fault or error
                raise

        return threads.submit(done)

    def _waited(self, future: Future[Any]) -> Any:
        while not wait([future], LOOKS).done:
            self.look()
        self.look()
        return future.result()

    # -- requests, in a thread --

    def _create(self) -> None:
        self._upload = {"UploadId": self._client.create_multipart_upload(**self._where, **self._encryption)["UploadId"]}

    def _copy(self, number: int, key: str, of_it: str | None) -> str:
        some = {"CopySourceRange": of_it} if of_it else {}
        made = self._client.upload_part_copy(
            **self._where, **self._upload, PartNumber=number, CopySource=self._place.where(key), **some
        )
        return str(made["CopyPartResult"]["ETag"])

    def _put(self, number: int, block: bytearray) -> str:
        return str(self._client.upload_part(**self._where, **self._upload, PartNumber=number, Body=block)["ETag"])

    def _complete(self, tags: list[dict[str, Any]]) -> int:
        """The size of the object."""
        self._client.complete_multipart_upload(**self._where, **self._upload, MultipartUpload={"Parts": tags})
        return int(self._client.head_object(**self._where)["ContentLength"])


def _faults() -> tuple[type[Exception], ...]:
    """What botocore raises."""
    errors = needs("s3", "botocore.exceptions")
    return errors.ClientError, errors.BotoCoreError


def _told(fault: BaseException) -> BaseException:
    """What a request's failure means: that it is to be tried later, or not like this."""
    errors = needs("s3", "botocore.exceptions")
    if isinstance(fault, errors.ClientError):
        status = fault.response["ResponseMetadata"]["HTTPStatusCode"]
        is_passing = status in PASSING or (status >= 500 and status != 501)
    elif isinstance(fault, (errors.ConnectionError, errors.HTTPClientError)):
        # obstore has just reached the service: it may know a way, or trust a certificate, that botocore doesn't.
        is_passing = not isinstance(fault, (errors.SSLError, errors.ProxyConnectionError))
    elif isinstance(fault, errors.BotoCoreError):
        is_passing = False
    else:
        return fault
    told = TransientError("The file store does not answer just now.") if is_passing else Refused(str(fault))
    told.__cause__ = fault
    return told
