"""Printing on a terminal that may be closed before the work is done."""

import errno
import io
import sys

__all__ = ["outlive_terminal"]


class Terminal(io.FileIO):
    """A terminal; what is written after it was closed goes nowhere."""

    def write(self, data) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return len(data)


def outlive_terminal() -> None:
    """Let a closed terminal end no work: neither what it saves nor what goes on.

    Standard output and error are replaced where they are terminals. Files and pipes
    still fail as they do, and so does a console of Windows, which is of another kind.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper) or not stream.isatty():
            continue
        buffered = isinstance(stream.buffer, io.BufferedWriter)  # it is not, by -u
        if type(stream.buffer.raw if buffered else stream.buffer) is not io.FileIO:
            continue
        stream.flush()
        raw = Terminal(stream.fileno(), "w", closefd=False)
        lasting = io.TextIOWrapper(
            io.BufferedWriter(raw) if buffered else raw,
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        setattr(sys, name, lasting)
