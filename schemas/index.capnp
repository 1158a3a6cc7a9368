# The file index.capnp of a snapshot: one message in the standard stream framing. Its size and its
# XXH3-128 are in the manifest. It is read when chunks are checked or decompressed, not to open a
# snapshot.
@0xd3f06c8852b7e19d;
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("stasis::schema");

# Chunks are numbered through all stored extents in the order of the manifest. Inside an extent they
# are cut at the guest addresses that are multiples of chunkBytes; they follow each other in the
# payload without a gap from the extent's fileOffset on.
struct Index {
  snapshotId @0 :Data;  # The manifest's.
  # XXH3-64 of each chunk's raw bytes, seeded with the guest address of its first byte. As many as
  # the manifest's chunkCount.
  checksums @1 :List(UInt64);
  # Empty with codec none: every chunk is stored raw. Else as many as checksums: 1 to the chunk's raw
  # length; equal to it means stored raw. Chunks of a raw extent are always stored raw. Every chunk
  # lies inside the payload.
  storedBytes @2 :List(UInt32);
}
