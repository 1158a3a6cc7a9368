# The file manifest.capnp of a snapshot: the Header message, then the Manifest message, each in the
# standard stream framing of Cap'n Proto, nothing between them and nothing behind.
# docs/snapshot-format.md explains the whole format; snapshot/manifest_codec.h has the limits' names.
#
# Compatibility. New fields with defaults that mean "as before" need no new format version: older
# programs keep working. formatVersion rises only for a change that an older reader would misread.
@0xbd9a1c3f7e5d2a41;
using Cxx = import "/capnp/c++.capnp";
using Vcpu = import "vcpu.capnp";
$Cxx.namespace("stasis::schema");

# FROZEN for ever: no field may be added, changed or reinterpreted, whatever the format version, so
# that every program can say what it has found. The message has exactly one segment, at most 4096
# bytes, and is encoded canonically: re-encoding what was read gives the same bytes (so that damage
# to the header is noticed although no checksum covers it).
struct Header {
  magic @0 :Text;  # "stasis snapshot", for file(1) and for people.
  formatVersion @1 :UInt32;
  id @2 :Data;        # 16 random bytes.
  parentId @3 :Data;  # 16 bytes, or empty: a full snapshot.
  creator @4 :Text;   # Program and version; at most 512 bytes.
  createdNs @5 :Int64;  # Since 1970-01-01 UTC.
  bodyBytes @6 :UInt64;  # Of the message that follows; a multiple of 8, at most 256 MiB.
  bodyChecksumLow @7 :UInt64;  # XXH3-128 of those bytes: the snapshot's content root.
  bodyChecksumHigh @8 :UInt64;
  explanation @9 :Text;  # One sentence about what this file is; version 1 always writes the same.
}

# Format version 1. Nesting at most 8 pointers deep.
struct Manifest {
  id @0 :Data;         # Equals the header's, as do the next three.
  parentId @1 :Data;
  creator @2 :Text;
  createdNs @3 :Int64;

  parentRootLow @4 :UInt64;   # The parent's content root; 0 without a parent.
  parentRootHigh @5 :UInt64;
  parentPath @6 :Text;        # A hint, at most 4096 bytes; empty without a parent.

  architecture @7 :Architecture;
  backend @8 :Backend;
  clockPolicy @9 :ClockPolicy;
  cpuFeatures @10 :List(Text);  # Strictly ascending; at most 1024 of 1 to 64 bytes.

  pageSizeBytes @11 :UInt32;  # 4096 or 16384.
  chunkBytes @12 :UInt32;     # Power of two, pageSizeBytes to 2 MiB.
  layout @13 :Layout;
  codec @14 :Codec;           # lz4 needs the layout packed.

  # Strictly ascending, disjoint; 1 to 4096; whole pages, not empty; each ends at or below 2^52; all
  # together at most 2^43 bytes.
  regions @15 :List(Region);
  # In address order, without a gap from the first region's first page to the last region's last:
  # the address of each follows from the lengths before it. None reaches over a region's end.
  extents @16 :List(Extent);

  payloadBytes @17 :UInt64;  # Of the file memory. mappable: exactly the image of all regions.
  chunkCount @18 :UInt32;    # Chunks of all stored extents together.
  indexBytes @19 :UInt64;    # Size of the file index.capnp.
  indexChecksumLow @20 :UInt64;  # XXH3-128 of that file.
  indexChecksumHigh @21 :UInt64;

  vcpus @22 :List(Vcpu.Vcpu);  # 1 to 32, all of `architecture`.
  devices @23 :List(Device);   # At most 256, names unique.
  labels @24 :List(Label);     # At most 256, keys unique.

  # Behind the payload, whose snapshot it is: 40, or 0 in files from before there were marks. The file
  # memory has payloadBytes + payloadMarkBytes bytes.
  payloadMarkBytes @25 :UInt32;

  struct Region {
    gpa @0 :UInt64;
    lengthBytes @1 :UInt64;
    backing @2 :Backing;
    hugePages @3 :HugePages;
  }

  struct Extent {
    lengthPages @0 :UInt32;  # Not 0.
    kind @1 :ExtentKind;     # lz4 only with codec lz4; inherited only with a parent.
    # raw, lz4: of the first stored byte in `memory`. raw: a multiple of the page size, the whole
    # extent lies inside the payload; in a mappable layout the place that the address determines.
    # Otherwise 0. Extents may share payload bytes.
    fileOffset @2 :UInt64;
  }

  struct Device {
    name @0 :Text;       # 1 to 128 bytes.
    version @1 :UInt32;  # Of the device's state; not 0.
    state @2 :Data;      # At most 16 MiB.
  }

  struct Label {
    key @0 :Text;    # 1 to 128 bytes.
    value @1 :Text;  # At most 4096 bytes.
  }

  # In all enumerations a value that is not listed is refused.
  enum Architecture { unspecified @0; x8664 @1; arm64 @2; toy @3; }  # unspecified is refused.
  enum Backend { mock @0; kvm @1; hvf @2; hvfSim @3; }
  enum ClockPolicy { unspecified @0; guestContinues @1; hostCounter @2; instructions @3; }
  enum Layout { unspecified @0; mappable @1; packed @2; }
  enum Codec { unspecified @0; none @1; lz4 @2; }
  enum ExtentKind { unspecified @0; zero @1; raw @2; lz4 @3; inherited @4; }
  enum Backing { anonymous @0; memfd @1; privateFile @2; sharedFile @3; }
  enum HugePages { never @0; transparent @1; hugetlb @2; }
}
