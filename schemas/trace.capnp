# The file trace.capnp beside a snapshot: which guest pages a run from it touched, in order. One
# message in the standard stream framing, at most 64 MiB. Not a part of the snapshot: it changes how
# long a restore takes and never what it restores, so a file that is damaged, or belongs to another
# snapshot, is ignored.
@0xd6a2b0c75e9f4a13;
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("stasis::schema");

struct Trace {
  version @0 :UInt32;     # 1. Of this file; a reader ignores a higher one.
  snapshotId @1 :Data;    # The manifest's, 16 bytes.
  rootLow @2 :UInt64;     # The snapshot's content root.
  rootHigh @3 :UInt64;
  unitBytes @4 :UInt32;   # Every access is to so many bytes: the recording host's page, 4096 .. 65536.
  createdNs @5 :Int64;    # Since 1970-01-01 UTC.
  accesses @6 :List(Access);  # In the order of their being seen; each page once; at most 1048576.
  # XXH3-128 (seed 0) of version, snapshotId (two words), rootLow, rootHigh, unitBytes, createdNs, and
  # page, atNs, and kind + 256 * phase of every access, each as 64 bits, little-endian.
  checksumLow @7 :UInt64;
  checksumHigh @8 :UInt64;

  struct Access {
    page @0 :UInt64;      # Guest-physical; a multiple of unitBytes.
    atNs @1 :UInt64;      # Since the recording began; never less than the one before.
    kind @2 :Kind;        # Of the first touch. A page that was read first may have been written later.
    phase @3 :Phase;
  }
  enum Kind { read @0; written @1; }
  enum Phase {
    restore @0;           # Before a vCPU could run: devices that are given their state.
    start @1;             # The guest runs, and no request has been posted.
    request @2;           # Since the first request was posted.
  }
}
