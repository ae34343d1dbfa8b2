# SPDX-License-Identifier: BSD-3-Clause
"""A small vhost-user front-end with a guest behind it.

It plays what QEMU sends for a virtio-net device, message by message, so that a test can stop after
any of them; and it drives split and packed rings well enough to send frames and to check what comes
back.
Standard library alone. Message numbers and layouts: the vhost-user specification of QEMU; ring
layouts: virtio 1.1, sections 2.6 and 2.7. It runs where the guest's byte order is the machine's.
"""
import array
import mmap
import os
import select
import socket
import struct
import threading
import time

# Messages.
GET_FEATURES = 1
SET_FEATURES = 2
SET_OWNER = 3
RESET_OWNER = 4
SET_MEM_TABLE = 5
SET_LOG_BASE = 6
SET_VRING_NUM = 8
SET_VRING_ADDR = 9
SET_VRING_BASE = 10
GET_VRING_BASE = 11
SET_VRING_KICK = 12
SET_VRING_CALL = 13
GET_PROTOCOL_FEATURES = 15
SET_PROTOCOL_FEATURES = 16
GET_QUEUE_NUM = 17
SET_VRING_ENABLE = 18
SEND_RARP = 19
NET_SET_MTU = 20
SET_BACKEND_REQ_FD = 21
IOTLB_MSG = 22
SET_STATUS = 39
GET_STATUS = 40

# Messages of the back-end.
BACKEND_VRING_HOST_NOTIFIER = 3

VERSION = 0x1
REPLY = 0x4
NEED_REPLY = 0x8

PROTOCOL_F_MQ = 1 << 0
PROTOCOL_F_LOG_SHMFD = 1 << 1
PROTOCOL_F_RARP = 1 << 2
PROTOCOL_F_REPLY_ACK = 1 << 3
PROTOCOL_F_NET_MTU = 1 << 4
PROTOCOL_F_BACKEND_REQ = 1 << 5
PROTOCOL_F_BACKEND_SEND_FD = 1 << 10
PROTOCOL_F_HOST_NOTIFIER = 1 << 11
PROTOCOL_F_STATUS = 1 << 16

F_CSUM = 1 << 0
F_GUEST_CSUM = 1 << 1
F_MTU = 1 << 3
F_HOST_TSO4 = 1 << 11
F_HOST_TSO6 = 1 << 12
F_MRG_RXBUF = 1 << 15
F_STATUS = 1 << 16
F_GUEST_ANNOUNCE = 1 << 21
F_MQ = 1 << 22
F_LOG_ALL = 1 << 26
F_INDIRECT_DESC = 1 << 28
F_EVENT_IDX = 1 << 29
F_PROTOCOL_FEATURES = 1 << 30
F_VERSION_1 = 1 << 32
F_ACCESS_PLATFORM = 1 << 33
F_RING_PACKED = 1 << 34

STATUS_ACKNOWLEDGE = 1
STATUS_DRIVER = 2
STATUS_DRIVER_OK = 4
STATUS_FEATURES_OK = 8

NET_HDR_LEN = 12
LEGACY_HDR_LEN = 10
DESC_F_NEXT = 1
DESC_F_WRITE = 2
DESC_F_INDIRECT = 4
PACKED_WRAP = 1 << 15
BUFFER_LEN = 2048
PAGE = 4096

# Types and permissions of IOTLB messages.
IOTLB_MISS, IOTLB_UPDATE, IOTLB_INVALIDATE, IOTLB_ACCESS_FAIL = 1, 2, 3, 4
IOTLB_BATCH_BEGIN, IOTLB_BATCH_END = 5, 6
IOTLB_RO, IOTLB_WO, IOTLB_RW = 1, 2, 3

# Guest physical memory starts here: not 0, so that a forgotten translation shows.
GPA = 0x4000_0000


class FrontendError(Exception):
    """The back-end closed the connection or answered with an error."""


class HungUp(Exception):
    """The front-end left behind a message, as Frontend.play() was told to."""


def store16(memory, at, value):
    """Write what the device may look at meanwhile, in one access. pack_into() clears what it writes to
    first: an index of 0 in between is 65,000 descriptors more, which no ring has."""
    memoryview(memory)[at:at + 2].cast('H')[0] = value


class Ring:
    """One split ring in the guest's memory, with a buffer of its own for each descriptor.

    What the device writes meanwhile is read in native formats of struct, "@": the others go byte by
    byte, and an index seen in the middle of that is another index.
    """

    FIRST = 0                  # index of a fresh ring

    def __init__(self, mem, index, size, offset):
        self.mem, self.index, self.size = mem, index, size
        self.memory = GPA          # where the device finds it
        self.desc = offset
        self.avail, self.used, end = self._layout(offset + 16 * size)
        self.buffers = (end + PAGE - 1) & ~(PAGE - 1)
        self.end = self.buffers + BUFFER_LEN * size
        self.kick = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.call = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.doorbell = None
        self._stand(self.FIRST)

    def _layout(self, end):
        """Where the parts behind the descriptors start, and where they end."""
        used = (end + 6 + 2 * self.size + 3) & ~3
        return end, used, used + 6 + 8 * self.size

    def clear(self):
        """A fresh ring, as after a driver's reset."""
        self.mem[self.desc:self.buffers] = bytes(self.buffers - self.desc)
        self.start_at(self.FIRST)

    def _stand(self, index):
        self.next_avail = self.next_used = index
        self.free = list(range(self.size))
        self.chains = {}           # descriptors by name
        self.slots = {}            # how many of a packed ring's, by name

    def start_at(self, index):
        """An empty ring that stands somewhere, as when its guest came from another machine."""
        self._stand(index)
        for at in (self.avail, self.used):
            store16(self.mem, at + 2, index)

    def base(self):
        """Where the device is to start."""
        return self.next_avail

    def buffer(self, desc):
        return self.buffers + desc * BUFFER_LEN

    def push(self, desc, length, flags, address=None):
        """Make a descriptor available, of its own buffer or of what is elsewhere."""
        own = self.memory + self.buffer(desc)
        self._push([desc], [(own if address is None else address, length, flags)])

    def push_chain(self, segments, table=None):
        """Make a chain of (guest address, length, flags) available: in descriptors of the ring, or in an
        indirect table at @table in memory. Returns its name: pop() tells it, release() ends it."""
        count = len(segments) if table is None else 1
        ids, self.free = self.free[:count], self.free[count:]
        self.chains[ids[0]] = ids
        if table is not None:
            self._table(table, segments)
            segments = [(self.memory + table, 16 * len(segments), DESC_F_INDIRECT)]
        self._push(ids, segments)
        return ids[0]

    def release(self, name):
        """The descriptors of a chain that was used are free."""
        self.free += self.chains.pop(name)

    def _table(self, at, segments):
        for number, (address, length, flags) in enumerate(segments, 1):
            more = number < len(segments)
            struct.pack_into('@QIHH', self.mem, at + 16 * (number - 1), address, length,
                             flags | (DESC_F_NEXT if more else 0), number if more else 0)

    def _push(self, ids, segments):
        for desc, following, (address, length, flags) in zip(ids, [*ids[1:], None], segments):
            more = following is not None
            struct.pack_into('@QIHH', self.mem, self.desc + 16 * desc, address, length,
                             flags | (DESC_F_NEXT if more else 0), following if more else 0)
        self.offer(ids[0])

    def offer(self, desc):
        """Make the chain that starts with a descriptor available, whatever is written there."""
        store16(self.mem, self.avail + 4 + 2 * (self.next_avail % self.size), desc)
        self.next_avail = (self.next_avail + 1) & 0xffff
        store16(self.mem, self.avail + 2, self.next_avail)

    def ring_doorbell(self):
        """At the card itself, where the back-end gave us its doorbell page."""
        if self.doorbell is not None:
            store16(self.doorbell, 0, self.index)
        else:
            os.eventfd_write(self.kick, 1)

    def pop(self):
        """The next used (descriptor, length), or None."""
        if struct.unpack_from('@H', self.mem, self.used + 2)[0] == self.next_used:
            return None
        desc, length = struct.unpack_from(
            '@II', self.mem, self.used + 4 + 8 * (self.next_used % self.size))
        self.next_used = (self.next_used + 1) & 0xffff
        return desc, length

    def want_calls(self, wanted):
        store16(self.mem, self.avail, 0 if wanted else 1)

    def close(self):
        os.close(self.kick)
        os.close(self.call)


class PackedRing(Ring):
    """Likewise a packed ring. Its indices are positions, with the wrap counter in bit 15; the parts
    behind the descriptors are the event suppression of the driver and of the device."""

    AVAIL, USED = 1 << 7, 1 << 15
    FIRST = PACKED_WRAP

    def _layout(self, end):
        return end, end + 4, end + 8

    def start_at(self, index):
        self._stand(index)
        # Before the position all is used in this lap, from there on in the last one.
        for slot in range(self.size):
            lap = bool(index & PACKED_WRAP) == (slot < index & ~PACKED_WRAP)
            store16(self.mem, self.desc + 16 * slot + 14,
                    self.AVAIL | self.USED if lap else 0)

    def base(self):
        return self.next_used

    def advance(self, index, count=1):
        position = (index & ~PACKED_WRAP) + count
        if position < self.size:
            return index + count
        return position - self.size | (index & PACKED_WRAP ^ PACKED_WRAP)

    def _table(self, at, segments):
        for number, (address, length, flags) in enumerate(segments):
            struct.pack_into('@QIHH', self.mem, at + 16 * number, address, length, 0, flags)

    def _push(self, ids, segments):
        self.write_chain(ids[0], [
            (address, length, flags | (DESC_F_NEXT if number < len(segments) else 0))
            for number, (address, length, flags) in enumerate(segments, 1)])

    def write_chain(self, name, descriptors):
        """Write (guest address, length, flags) from the next position on, the first one's flags last."""
        self.slots[name] = len(descriptors)
        pending = []
        for address, length, flags in descriptors:
            at = self.desc + 16 * (self.next_avail & ~PACKED_WRAP)
            wrap = self.next_avail & PACKED_WRAP
            struct.pack_into('@QIH', self.mem, at, address, length, name)
            pending.append((at + 14, flags | (self.AVAIL if wrap else self.USED)))
            self.next_avail = self.advance(self.next_avail)
        for at, flags in reversed(pending):
            store16(self.mem, at, flags)

    def pop(self):
        at = self.desc + 16 * (self.next_used & ~PACKED_WRAP)
        flags = struct.unpack_from('@H', self.mem, at + 14)[0]
        wrap = bool(self.next_used & PACKED_WRAP)
        if bool(flags & self.AVAIL) != wrap or bool(flags & self.USED) != wrap:
            return None
        length, desc = struct.unpack_from('@IH', self.mem, at + 8)
        self.next_used = self.advance(self.next_used, self.slots.pop(desc, 1))
        return desc, length

    def want_calls(self, wanted):
        store16(self.mem, self.avail + 2, 0 if wanted else 1)


class Notifiers:
    """The channel on which a back-end offers doorbell pages, and a thread that answers there:
    0 takes what is offered, 1 refuses it, None says nothing."""

    PROTOCOL_FEATURES = PROTOCOL_F_BACKEND_REQ | PROTOCOL_F_BACKEND_SEND_FD | PROTOCOL_F_HOST_NOTIFIER

    def __init__(self, answer=0):
        self.answer = answer
        self.offers = []           # queue indices, in the order in which they came
        self.sock = self.thread = None

    def open(self, rings):
        """Returns the end for the back-end, to be closed once it is sent."""
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.thread = threading.Thread(target=self._serve, args=(self.sock, rings), daemon=True)
        self.thread.start()
        return theirs

    def close(self):
        if self.sock is not None:
            self.sock.shutdown(socket.SHUT_RDWR)
            self.thread.join()
            self.sock.close()
            self.sock = None

    def _serve(self, sock, rings):
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(sock, 12 + 24, 1)
            except OSError:
                return
            if len(data) < 12:
                return
            request, _, size = struct.unpack_from('<III', data)
            if request == BACKEND_VRING_HOST_NOTIFIER and size == 24:
                self._offer(rings, *struct.unpack_from('<QQQ', data, 12), fds)
            if self.answer is not None:
                reply = struct.pack('<IIIQ', request, VERSION | REPLY, 8, self.answer)
                sock.sendall(reply)

    def _offer(self, rings, index, size, offset, fds):
        if not fds:
            rings[index & 0xff].doorbell = None
            return
        if self.answer == 0:
            rings[index & 0xff].doorbell = mmap.mmap(fds[0], size, offset=offset)
        os.close(fds[0])
        self.offers.append(index)


class Frontend:
    """A vhost-user connection and the guest's memory behind it."""

    def __init__(self, path, pairs=1, ring_size=256, mem_bytes=32 << 20, timeout=60.0, features=0,
                 notifiers=None, memory=None, packed=False, legacy=False):
        """@memory: the descriptor of another one's, instead of a new file. @packed: rings. @legacy: a
        guest from before virtio 1.0."""
        self.path, self.pairs, self.timeout = path, pairs, timeout
        self.more_features = features | (F_RING_PACKED if packed else 0)
        self.legacy = legacy
        self.hdr_len = LEGACY_HDR_LEN if legacy else NET_HDR_LEN
        self.notifiers = notifiers
        self.mem_bytes = mem_bytes
        self.sock = None
        if memory is None:
            self.fd = os.memfd_create('guest', os.MFD_CLOEXEC)
            os.ftruncate(self.fd, mem_bytes)
        else:
            self.fd = os.dup(memory)
        self.mem = mmap.mmap(self.fd, mem_bytes)
        self.rings = []
        self.features = self.protocol_features = self.protocol_wanted = 0
        self.hang_up = False
        offset = 0
        for index in range(2 * pairs):
            ring = (PackedRing if packed else Ring)(self.mem, index, ring_size, offset)
            offset = (ring.end + PAGE - 1) & ~(PAGE - 1)
            self.rings.append(ring)
        if offset > mem_bytes:
            raise ValueError('rings need %d bytes of guest memory' % offset)
        # What the front-end calls a userspace address only has to be its own affair.
        self.hva = 0x7f00_0000_0000

    # ---- the connection ----

    def accept(self, listener):
        """Let the back-end connect to us; start() then uses that connection."""
        listener.settimeout(self.timeout)
        self.sock, _ = listener.accept()
        self.sock.settimeout(self.timeout)

    def connect(self):
        """Connect as soon as the socket is there, unless the back-end connected to us."""
        if self.sock is not None:
            return
        deadline = time.monotonic() + self.timeout
        while True:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            try:
                self.sock.connect(self.path)
                return
            except (FileNotFoundError, ConnectionRefusedError):
                self.sock.close()
                self.sock = None
                if time.monotonic() > deadline:
                    raise FrontendError('nobody listens on ' + self.path) from None
                time.sleep(0.02)

    def disconnect(self):
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def close(self):
        self.disconnect()
        for ring in self.rings:
            ring.close()
        self.rings = []
        self.mem.close()
        os.close(self.fd)

    def _receive(self, length):
        data = b''
        while len(data) < length:
            part = self.sock.recv(length - len(data))
            if not part:
                raise FrontendError('the back-end closed the connection')
            data += part
        return data

    def _send(self, request, payload, fds, flags):
        ancillary = []
        if fds:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))]
        header = struct.pack('<III', request, VERSION | flags, len(payload))
        try:
            self.sock.sendmsg([header + payload], ancillary)
        except (BrokenPipeError, ConnectionResetError):
            raise FrontendError('the back-end closed the connection') from None
        if self.hang_up:
            self.disconnect()
            raise HungUp

    def request(self, request, payload=b'', fds=()):
        """Send a message that has an answer of its own; returns the answer."""
        self._send(request, payload, fds, 0)
        answer, flags, size = struct.unpack('<III', self._receive(12))
        if answer != request or not flags & REPLY:
            raise FrontendError('answer %d to request %d' % (answer, request))
        return self._receive(size)

    def command(self, request, payload=b'', fds=()):
        """Send a message without an answer, and wait for its acknowledgement if negotiated."""
        if not self.protocol_features & PROTOCOL_F_REPLY_ACK:
            self._send(request, payload, fds, 0)
            return
        self._send(request, payload, fds, NEED_REPLY)
        answer, _, size = struct.unpack('<III', self._receive(12))
        value = struct.unpack('<Q', self._receive(size))[0]
        if answer != request or value != 0:
            raise FrontendError('request %d failed with %d' % (request, value))

    def get_u64(self, request):
        return struct.unpack('<Q', self.request(request))[0]

    def set_u64(self, request, value):
        self.command(request, struct.pack('<Q', value))

    # ---- the start sequence ----

    def start_steps(self):
        """Every message of a start as (name, function), in QEMU's order."""
        steps = [('GET_FEATURES', self._get_features),
                 ('GET_PROTOCOL_FEATURES', self._get_protocol_features),
                 ('SET_PROTOCOL_FEATURES', self._set_protocol_features),
                 ('GET_QUEUE_NUM', self._get_queue_num),
                 ('SET_OWNER', lambda: self.command(SET_OWNER))]
        if self.notifiers:
            steps.append(('SET_BACKEND_REQ_FD', self._set_backend_req_fd))
        steps += self.restart_steps()
        return steps

    def restart_steps(self):
        """What a reset device gets again, on the same connection."""
        driver = STATUS_ACKNOWLEDGE | STATUS_DRIVER
        ready = driver | STATUS_FEATURES_OK
        steps = [('SET_FEATURES', lambda: self.set_u64(SET_FEATURES, self.features)),
                 ('SET_STATUS FEATURES_OK', lambda: self.set_status(ready)),
                 ('SET_MEM_TABLE', self.set_mem_table)]
        for ring in self.rings:
            steps += self._ring_steps(ring)
        for ring in self.rings:
            steps.append(('SET_VRING_ENABLE %d' % ring.index,
                          lambda r=ring: self.enable(r.index, True)))
        steps.append(('SET_STATUS DRIVER_OK', lambda: self.set_status(ready | STATUS_DRIVER_OK)))
        return steps

    def _ring_steps(self, ring):
        i = ring.index
        state = struct.pack
        return [
            ('SET_VRING_NUM %d' % i,
             lambda: self.command(SET_VRING_NUM, state('<II', i, ring.size))),
            ('SET_VRING_BASE %d' % i,
             lambda: self.command(SET_VRING_BASE, state('<II', i, ring.base()))),
            ('SET_VRING_ADDR %d' % i, lambda: self._set_vring_addr(ring)),
            ('SET_VRING_KICK %d' % i,
             lambda: self.command(SET_VRING_KICK, state('<Q', i), [ring.kick])),
            ('SET_VRING_CALL %d' % i,
             lambda: self.command(SET_VRING_CALL, state('<Q', i), [ring.call])),
        ]

    def _get_features(self):
        offered = self.get_u64(GET_FEATURES)
        wanted = F_PROTOCOL_FEATURES | (F_MQ if self.pairs > 1 else 0)
        wanted |= self.more_features | (0 if self.legacy else F_VERSION_1)
        if wanted & ~offered:
            raise FrontendError('the device does not offer features 0x%x' % (wanted & ~offered))
        self.features = wanted

    def _get_protocol_features(self):
        offered = self.get_u64(GET_PROTOCOL_FEATURES)
        wanted = PROTOCOL_F_MQ | PROTOCOL_F_REPLY_ACK | PROTOCOL_F_STATUS
        if self.notifiers:
            wanted |= Notifiers.PROTOCOL_FEATURES
        if self.more_features & F_LOG_ALL:
            wanted |= PROTOCOL_F_LOG_SHMFD
        if self.more_features & F_MTU:
            wanted |= PROTOCOL_F_NET_MTU
        self.protocol_wanted = offered & wanted

    def _set_protocol_features(self):
        self.command(SET_PROTOCOL_FEATURES, struct.pack('<Q', self.protocol_wanted))
        self.protocol_features = self.protocol_wanted

    def _set_backend_req_fd(self):
        theirs = self.notifiers.open(self.rings)
        self.command(SET_BACKEND_REQ_FD, b'', [theirs.fileno()])
        theirs.close()

    def _get_queue_num(self):
        if self.protocol_features & PROTOCOL_F_MQ and self.get_u64(GET_QUEUE_NUM) < self.pairs:
            raise FrontendError('the device has less than %d queue pairs' % self.pairs)

    def set_status(self, status):
        if self.protocol_features & PROTOCOL_F_STATUS:
            self.set_u64(SET_STATUS, status)

    def set_mem_table(self, dimms=()):
        """Memory as it is, and files of @dimms (fd, bytes) behind it at ascending addresses."""
        regions, fds, address = b'', [], 0
        for fd, length in [(self.fd, self.mem_bytes), *dimms]:
            regions += struct.pack('<QQQQ', GPA + address, length, self.hva + address, 0)
            fds.append(fd)
            address += length
        self.command(SET_MEM_TABLE, struct.pack('<II', len(fds), 0) + regions, fds)

    def _set_vring_addr(self, ring):
        logged = bool(self.features & F_LOG_ALL)
        self.command(SET_VRING_ADDR, struct.pack(
            '<IIQQQQ', ring.index, int(logged), self.hva + ring.desc, self.hva + ring.used,
            self.hva + ring.avail, GPA + ring.used if logged else 0))

    def enable(self, index, on):
        self.command(SET_VRING_ENABLE, struct.pack('<II', index, int(on)))
        self._sync()

    def get_vring_base(self, index):
        """Stop a ring; returns the index at which it stands. The guest loses its doorbell first, as it
        does in QEMU."""
        self.rings[index].doorbell = None
        return struct.unpack('<II', self.request(GET_VRING_BASE, struct.pack('<II', index, 0)))[1]

    def start(self):
        """Connect and play the whole start sequence."""
        self.begin()
        for _, step in self.start_steps():
            step()
        self._sync()

    def begin(self):
        """Connect, with rings of which nothing was used. A connection that is answered comes after the
        end of the one before: no device works on these rings any more."""
        self.protocol_features = 0
        self.connect()
        self._sync()
        for ring in self.rings:
            ring.clear()

    def play(self, count, wait=True):
        """Connect, play the first @count messages of the start sequence, and leave; without @wait
        behind the last message, not even looking for its answer."""
        self.protocol_features = 0
        self.connect()
        for ring in self.rings:
            ring.clear()
        steps = self.start_steps()[:count]
        try:
            for number, (_, step) in enumerate(steps, 1):
                self.hang_up = number == count and not wait
                step()
        except HungUp:
            pass
        self.hang_up = False
        self.disconnect()

    def stop(self):
        """What a virtio reset sends. Returns the ring indices."""
        bases = [self.get_vring_base(ring.index) for ring in self.rings]
        self.set_status(0)
        return bases

    def restart(self):
        """A fresh start on the connection that stop() left."""
        for ring in self.rings:
            ring.clear()
        for _, step in self.restart_steps():
            step()
        self._sync()

    def _sync(self):
        """Some messages are acted on behind their acknowledgement: one with an answer waits."""
        self.get_u64(GET_FEATURES)

    # ---- dirty logging ----

    def set_log(self, log):
        """Share a log. The back-end answers when it has it."""
        self.request(SET_LOG_BASE, struct.pack('<QQ', log.size, 0), [log.fd])

    def logging(self, on):
        """Switch logging on or off, as QEMU does it on a running device: features, then the addresses
        of all rings with or without that of their used ring's log."""
        self.features = self.features | F_LOG_ALL if on else self.features & ~F_LOG_ALL
        self.set_u64(SET_FEATURES, self.features)
        for ring in self.rings:
            self._set_vring_addr(ring)
        self._sync()

    # ---- the guest ----

    def fill(self):
        """Give all receive buffers to the device."""
        for ring in self.rings[0::2]:
            while ring.free:
                ring.push(ring.free.pop(0), BUFFER_LEN, DESC_F_WRITE)
            ring.ring_doorbell()

    def send(self, frames, pair=0):
        """Make frames available for sending."""
        self.send_packets([bytes(self.hdr_len) + frame for frame in frames], pair)

    def send_packets(self, packets, pair=0):
        """Likewise with a virtio header before each frame."""
        ring = self.rings[2 * pair + 1]
        for packet in packets:
            self.reap(pair)
            desc = ring.free.pop(0)
            start = ring.buffer(desc)
            self.mem[start:start + len(packet)] = packet
            ring.push(desc, len(packet), 0)
        ring.ring_doorbell()

    def reap(self, pair=0):
        """Take back sent buffers. Returns how many."""
        ring = self.rings[2 * pair + 1]
        count = 0
        while (used := ring.pop()) is not None:
            ring.free.append(used[0])
            count += 1
        return count

    def receive(self, count, timeout=30.0):
        """Frames that arrived at any pair, as soon as there are @count of them or the time is up;
        their buffers are given back to the device."""
        return [packet[self.hdr_len:] for packet in self.receive_packets(count, timeout)]

    def receive_packets(self, count, timeout=30.0):
        """Likewise with the virtio header before each frame."""
        packets = []
        deadline = time.monotonic() + timeout
        while True:
            for ring in self.rings[0::2]:
                packets += self._receive_ring(ring)
            left = deadline - time.monotonic()
            if len(packets) >= count or left <= 0:
                return packets
            self._wait_calls(min(left, 0.1))

    def _receive_ring(self, ring):
        packets = []
        while (used := ring.pop()) is not None:
            desc, length = used
            start = ring.buffer(desc)
            packets.append(bytes(self.mem[start:start + length]))
            ring.push(desc, BUFFER_LEN, DESC_F_WRITE)
        if packets:
            ring.ring_doorbell()
        return packets

    def _wait_calls(self, seconds):
        calls = [ring.call for ring in self.rings[0::2]]
        for call in select.select(calls, [], [], seconds)[0]:
            os.eventfd_read(call)


class DirtyLog:
    """A log that the back-end marks pages in, for guest memory of @mem_bytes."""

    def __init__(self, mem_bytes):
        self.size = (GPA + mem_bytes) // PAGE // 8
        self.fd = os.memfd_create('log', os.MFD_CLOEXEC)
        os.ftruncate(self.fd, self.size)
        self.mem = mmap.mmap(self.fd, self.size)

    def take(self):
        """Offsets in guest memory of the pages that are marked, which are so no more."""
        start = GPA // PAGE // 8
        bits = bytes(self.mem[start:self.size])
        if any(self.mem[:start]):
            raise FrontendError('pages outside of memory are marked')
        self.mem[start:self.size] = bytes(len(bits))
        return {(8 * i + bit) * PAGE for i, byte in enumerate(bits) if byte
                for bit in range(8) if byte >> bit & 1}

    def close(self):
        self.mem.close()
        os.close(self.fd)


def listen(path):
    """A socket for back-ends that are clients."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(4)
    return listener


def frame(number, length=60):
    """An Ethernet frame of a local experimental type that carries a number and a pattern of it."""
    header = bytes.fromhex('02000000000102000000000288b5') + struct.pack('<Q', number)
    pattern = bytes((number + i) & 0xff for i in range(length - len(header)))
    return header + pattern


def ping_pong(frontend, count, pair=0, first=0):
    """Send numbered frames from a pair over a wire that brings them back, and check each.
    Returns (missing, unexpected), both 0 if all is well."""
    expected = {frame(first + i) for i in range(count)}
    got = []
    burst = 32
    for start in range(0, count, burst):
        part = range(first + start, first + min(start + burst, count))
        frontend.send([frame(i) for i in part], pair)
        got += frontend.receive(len(part))
    unique = set(got)
    return len(expected - unique), len(unique - expected) + len(got) - len(unique)
