"""Cuts an ELF file off where its last segment ends: nothing that is loaded is lost, only the table of sections, which no
kernel reads. (GNU strip can do that since 2.41, llvm-objcopy as --strip-sections.)"""

import struct
import sys

HEADER, SEGMENT = "<16sHHIQQQIHHHHHH", "<IIQQQQQQ"

with open(sys.argv[1], "rb+") as file:
    header = list(struct.unpack(HEADER, file.read(64)))
    assert header[0][:6] == b"\x7fELF\x02\x01", "no 64-bit little-endian ELF file"
    segments, size, count = header[5], header[9], header[10]
    end = segments + size * count
    for index in range(count):
        file.seek(segments + size * index)
        kind, _, offset, _, _, in_file, _, _ = struct.unpack(SEGMENT, file.read(56))
        end = max(end, offset + in_file) if kind == 1 else end
    header[6] = header[11] = header[12] = header[13] = 0
    file.seek(0)
    file.write(struct.pack(HEADER, *header))
    file.truncate(end)
