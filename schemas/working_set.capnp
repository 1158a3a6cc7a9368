# The file working-set.capnp beside a snapshot: the guest pages that a run from it touched until its
# answer, so that a later restore can bring them in beforehand. One message in the standard stream
# framing, at most 4 MiB. Not a part of the snapshot: it changes how long a restore takes and never
# what it restores, so a file that is damaged, or belongs to another snapshot, is ignored.
@0xeed3d1a97b6b2949;
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("stasis::schema");

struct WorkingSet {
  version @0 :UInt32;     # 1. Of this file; a reader ignores a higher one.
  snapshotId @1 :Data;    # The manifest's, 16 bytes.
  rootLow @2 :UInt64;     # The snapshot's content root.
  rootHigh @3 :UInt64;
  unitBytes @4 :UInt32;   # Begin and size of every run are multiples: the recording host's page, 4096 .. 65536.
  createdNs @5 :Int64;    # Since 1970-01-01 UTC.
  runs @6 :List(Run);     # Ascending and disjoint, each inside one region; at most 65536.
  # XXH3-128 (seed 0) of version, snapshotId (two words), rootLow, rootHigh, unitBytes, createdNs, and
  # begin, units and kind (0, 1) of every run, each as 64 bits, little-endian: low half, high half.
  checksumLow @7 :UInt64;
  checksumHigh @8 :UInt64;

  struct Run {
    begin @0 :UInt64;     # Guest-physical.
    units @1 :UInt32;     # At least 1.
    kind @2 :Kind;
  }
  enum Kind { read @0; written @1; }
}
