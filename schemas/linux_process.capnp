# The kernel's side of a Linux guest: everything of the process but its memory and the registers of
# the thread that is on the vCPU, which the snapshot has elsewhere. One message in the standard stream
# framing, a device state of the snapshot. Numbers of Linux (signals, flags, modes, system calls)
# are those of x86-64.
@0xc1d5a3f0b86e4972;
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("stasis::schema");

struct LinuxProcess {
  version @0 :UInt32;      # 1; 2 if one of the timers from virtualTimer on exists.
  monotonicNs @1 :Int64;   # Of the guest at the save; it goes on from here.
  arguments @2 :List(Text);
  environment @3 :List(Text);
  executable @4 :Text;
  umask @5 :UInt32;
  dumpable @6 :UInt32;
  limits @7 :List(UInt64);  # Soft and hard in turn, 16 pairs.
  realTimer @8 :OptionalDeadline;
  realTimerIntervalNs @9 :Int64;
  report @10 :Text;         # What was noted so far.
  lastThreadId @11 :Int32;
  lastFutexOrder @12 :UInt64;
  loadedThread @13 :Int32;
  threads @14 :List(Thread);          # Ascending ids.
  actions @15 :List(SignalAction);    # 64
  pending @16 :List(SignalInfo);      # To the process as a whole.
  inodes @17 :List(Inode);
  lastInode @18 :UInt64;
  mountRoots @19 :List(UInt32);       # Of /tmp, /dev/shm, /run.
  pipes @20 :List(Pipe);
  files @21 :List(File);              # Each open file description once.
  descriptors @22 :List(Descriptor);  # Ascending numbers.
  workingDirectory @23 :Place;
  mappings @24 :List(Mapping);
  lastMapping @25 :UInt64;
  device @26 :Device;
  waitedNs @27 :Int64;     # Of monotonicNs: no thread could run.
  virtualTimer @28 :Timer;     # Processor time.
  profilingTimer @29 :Timer;   # Processor time.
  posixTimers @30 :List(PosixTimer);
  nextPosixTimer @31 :Int32;
}

struct Timer {
  isSet @0 :Bool;
  atNs @1 :Int64;
  intervalNs @2 :Int64;
}

struct PosixTimer {
  id @0 :Int32;
  clock @1 :UInt8;    # 0 monotonic, 1 real, 2 processor time.
  signal @2 :Int32;   # 0: none.
  thread @3 :Int32;   # 0: the process.
  value @4 :UInt64;
  overrun @5 :Int32;
  timer @6 :Timer;
}

struct OptionalDeadline {
  isSet @0 :Bool;
  isReal @1 :Bool;  # CLOCK_REALTIME; else monotonic.
  atNs @2 :Int64;
}

struct Thread {
  id @0 :Int32;
  registers @1 :List(UInt64);  # rax rbx rcx rdx rsi rdi rsp rbp r8 ... r15 rip rflags
  fsBase @2 :UInt64;
  gsBase @3 :UInt64;
  xsave @4 :Data;
  blocked @5 :UInt64;
  hasMaskToRestore @6 :Bool;
  maskToRestore @7 :UInt64;
  pending @8 :List(SignalInfo);
  alternateBase @9 :UInt64;
  alternateSize @10 :UInt64;
  alternateFlags @11 :Int32;
  clearChildTid @12 :UInt64;
  robustList @13 :UInt64;
  name @14 :Text;
  isInterrupted @15 :Bool;
  interruptedNumber @16 :UInt64;
  interruptedRestarts @17 :Bool;
  wait @18 :Wait;  # Absent: it runs.
}

struct Wait {
  number @0 :UInt64;
  arguments @1 :List(UInt64);  # 6
  until @2 :UInt8;             # 0 ready, 1 woken (a futex), 2 passed.
  deadline @3 :OptionalDeadline;
  restarts @4 :Bool;
  isWoken @5 :Bool;
  futex @6 :UInt64;
  futexMask @7 :UInt32;
  order @8 :UInt64;
  progress @9 :UInt64;
}

struct SignalAction {
  handler @0 :UInt64;
  flags @1 :UInt64;
  restorer @2 :UInt64;
  mask @3 :UInt64;
}

struct SignalInfo {
  signal @0 :Int32;
  code @1 :Int32;
  process @2 :Int32;
  user @3 :UInt32;
  value @4 :UInt64;
  address @5 :UInt64;
  vector @6 :UInt64;
  errorCode @7 :UInt64;
  isFault @8 :Bool;
}

struct Inode {
  number @0 :UInt64;
  mode @1 :UInt32;  # S_IFREG, S_IFDIR or S_IFLNK, with permissions.
  user @2 :UInt32;
  group @3 :UInt32;
  accessedNs @4 :Int64;
  modifiedNs @5 :Int64;
  changedNs @6 :Int64;
  target @7 :Data;            # Of a link.
  sizeBytes @8 :UInt64;       # Of a file.
  pageNumbers @9 :List(UInt64);  # Ascending; the others are holes.
  pages @10 :Data;            # 4096 bytes for each page number.
  entries @11 :List(Entry);   # Of a folder, ascending names. A folder is in one entry at most.
  struct Entry {
    name @0 :Data;
    inode @1 :UInt32;
  }
}

# A folder or file of the tree: of a tmpfs by inode, else by path.
struct Place {
  path @0 :Text;
  isTmpfs @1 :Bool;
  mount @2 :UInt32;
  inode @3 :UInt32;
  hasFolder @4 :Bool;
  folder @5 :UInt32;
  name @6 :Data;
}

struct Pipe {
  bytes @0 :Data;
  activity @1 :UInt64;
}

struct File {
  kind @0 :UInt8;  # FileKind
  flags @1 :Int32;
  offset @2 :UInt64;
  place @3 :Place;           # Host, directory, tmpfs, text, device.
  identity @4 :Identity;     # Host.
  content @5 :Data;          # Text.
  listed @6 :List(Listed);   # Directory.
  number @7 :UInt64;         # Console: 0, 1, 2. Pipe, socket: inode. Event: count.
  isSemaphore @8 :Bool;      # Event.
  pipes @9 :List(UInt32);    # Pipe: one. Socket: in and out.
  reads @10 :Bool;           # Socket: not shut down. Stasis: a request was active at the open.
  writes @11 :Bool;          # Socket: not shut down. Stasis: it has written.
  timer @12 :OptionalDeadline;
  timerIntervalNs @13 :Int64;
  timerIsReal @14 :Bool;
  watches @15 :List(Watch);  # Epoll.
  wasWatched @16 :Bool;
  struct Listed {
    name @0 :Data;
    inode @1 :UInt64;
    type @2 :UInt8;
  }
  struct Watch {
    descriptor @0 :Int32;
    file @1 :UInt32;
    events @2 :UInt32;
    data @3 :UInt64;
    reportedActivity @4 :UInt64;
    reportedEvents @5 :UInt32;
  }
}

# What is checked when a file of the host is opened again.
struct Identity {
  path @0 :Text;
  sizeBytes @1 :UInt64;
  modifiedNs @2 :Int64;
  contentHash @3 :UInt64;  # FNV-1a of a file of at most 1 MiB, else 0.
  # st_dev, st_ino, st_ctime: as long as they are the same the content is, and is not hashed again.
  device @4 :UInt64;
  inode @5 :UInt64;
  changedNs @6 :Int64;     # 0: unknown, or too young to vouch for the content.
}

struct Descriptor {
  number @0 :Int32;
  file @1 :UInt32;
  closesOnExec @2 :Bool;
}

struct Mapping {
  id @0 :UInt64;
  isTmpfs @1 :Bool;
  identity @2 :Identity;  # Of a host file; of a tmpfs file its path alone.
  inode @3 :UInt32;
}

struct Device {
  requests @0 :List(Data);
  isActive @1 :Bool;
  request @2 :Data;
  position @3 :UInt64;
  hasWritten @4 :Bool;
  response @5 :Data;
  responses @6 :List(Data);
  wantsRequest @7 :Bool;
  activity @8 :UInt64;
}
