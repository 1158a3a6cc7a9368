"""The request device on the host: a pseudo-terminal that keeps the protocol of /dev/stasis for programs
that know nothing of it.

In the kernel's canonical mode a terminal does nearly what the protocol says: a read blocks until there
is a line, returns at most one line, and returns 0 when the end-of-file character stands where a line
would begin (termios(3)). All else that terminals do is switched off. What differs from the device in a
VM: isatty() is true, so that C's streams are flushed at each line by themselves."""

import os
import select
import termios
import time

END = b"\x04"  # No JSON text contains it.
# The kernel keeps 4095 bytes of an unfinished line; longer ones are handed over in parts.
PART_BYTES = 2048
POLL_SECONDS = 0.0001


class DeviceTimeout(Exception):
    """The program did not read or answer in time."""


class NativeDevice:
    """A resource: close() it. One request at a time; thread-compatible."""

    def __init__(self):
        self._host, self._program = os.openpty()
        self.path = os.ttyname(self._program)
        attributes = termios.tcgetattr(self._program)
        control = [b"\0"] * len(attributes[6])
        control[termios.VEOF] = END
        attributes[0:2] = termios.IGNBRK, 0  # Input and output bytes as they are.
        attributes[3] = termios.ICANON       # No echo, no signals.
        attributes[6] = control
        # The program's side stays open here: without it the settings would go with the last close.
        termios.tcsetattr(self._program, termios.TCSANOW, attributes)
        os.set_blocking(self._host, False)
        self._received = b""

    def close(self):
        for descriptor in (self._host, self._program):
            os.close(descriptor)

    def _write(self, data, deadline):
        """The kernel takes some ten kilobytes that are not read yet; then the program is waited for."""
        while data:
            try:
                data = data[os.write(self._host, data):]
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise DeviceTimeout("the program did not read its request") from None
                time.sleep(POLL_SECONDS)

    def send(self, line, deadline):
        """Makes the line (bytes with their line end) the next request. Times are of time.monotonic()."""
        parts = [line[at:at + PART_BYTES] for at in range(0, len(line), PART_BYTES)]
        # The end-of-file character after some bytes hands them over without ending the file.
        self._write(END.join(parts), deadline)

    def end(self):
        """No further request will come: the next read returns 0."""
        os.write(self._host, END)

    def receive(self, deadline, exited=None):
        """The next response, with its line end. exited is a descriptor that becomes readable when the
        program is no more: EOFError then."""
        while b"\n" not in self._received:
            waited = [self._host] + ([] if exited is None else [exited])
            readable = select.select(waited, [], [], max(0.0, deadline - time.monotonic()))[0]
            if self._host in readable:
                self._received += os.read(self._host, 65536)
            elif exited in readable:
                raise EOFError("the program ended instead of answering")
            else:
                raise DeviceTimeout("the program did not answer")
        line, _, self._received = self._received.partition(b"\n")
        return line + b"\n"

    def unasked(self):
        """What the program wrote that no request had asked for."""
        if select.select([self._host], [], [], 0)[0]:
            self._received += os.read(self._host, 65536)
        return self._received
