#include "guests/linux/state/codec_parts.h"

namespace stasis::linux_guest::codec {
static void put(schema::Identity::Builder out, const HostFileIdentity& identity) {
  out.setPath(identity.path.c_str());
  out.setSizeBytes(identity.size_bytes);
  out.setModifiedNs(identity.modified_ns);
  out.setContentHash(identity.content_hash);
  out.setDevice(identity.version.device);
  out.setInode(identity.version.inode);
  out.setChangedNs(identity.version.changed_ns);
}
static HostFileIdentity get(schema::Identity::Reader in) {
  return {text_of(in.getPath()),
          in.getSizeBytes(),
          in.getModifiedNs(),
          in.getContentHash(),
          {in.getDevice(), in.getInode(), in.getChangedNs()}};
}

static void put(schema::Inode::Entry::Builder out, const InodeState::Entry& entry) {
  out.setName(data_of(entry.name));
  out.setInode(entry.inode);
}
static InodeState::Entry get(schema::Inode::Entry::Reader in) {
  return {text_of(in.getName()), in.getInode()};
}

static void put(schema::File::Listed::Builder out, const FileState::Listed& listed) {
  out.setName(data_of(listed.name));
  out.setInode(listed.inode);
  out.setType(listed.type);
}
static FileState::Listed get(schema::File::Listed::Reader in) {
  return {text_of(in.getName()), in.getInode(), in.getType()};
}

static void put(schema::File::Watch::Builder out, const WatchState& watch) {
  out.setDescriptor(watch.descriptor);
  out.setFile(watch.file);
  out.setEvents(watch.events);
  out.setData(watch.data);
  out.setReportedActivity(watch.reported_activity);
  out.setReportedEvents(watch.reported_events);
}
static WatchState get(schema::File::Watch::Reader in) {
  return {in.getDescriptor(),     in.getFile(), in.getEvents(),
          in.getReportedEvents(), in.getData(), in.getReportedActivity()};
}

// The overloads above, as values.
constexpr auto kPut = [](auto out, const auto& value) { put(out, value); };
constexpr auto kGet = [](auto in) { return get(in); };

void put(schema::Inode::Builder out, const InodeState& inode) {
  out.setNumber(inode.number);
  out.setMode(inode.mode);
  out.setUser(inode.user);
  out.setGroup(inode.group);
  out.setAccessedNs(inode.accessed_ns);
  out.setModifiedNs(inode.modified_ns);
  out.setChangedNs(inode.changed_ns);
  out.setTarget(data_of(inode.target));
  out.setSizeBytes(inode.size_bytes);
  put_numbers(out.initPageNumbers(count_of(inode.page_numbers)), inode.page_numbers);
  out.setPages(data_of(inode.pages));
  put_all(out.initEntries(count_of(inode.entries)), inode.entries, kPut);
}

InodeState get(schema::Inode::Reader in) {
  InodeState inode;
  inode.number = in.getNumber();
  inode.mode = in.getMode();
  inode.user = in.getUser();
  inode.group = in.getGroup();
  inode.accessed_ns = in.getAccessedNs();
  inode.modified_ns = in.getModifiedNs();
  inode.changed_ns = in.getChangedNs();
  inode.target = text_of(in.getTarget());
  inode.size_bytes = in.getSizeBytes();
  inode.page_numbers = get_numbers<std::uint64_t>(in.getPageNumbers());
  inode.pages = bytes_of(in.getPages());
  inode.entries = get_all<std::vector<InodeState::Entry>>(in.getEntries(), kGet);
  return inode;
}

void put(schema::Place::Builder out, const PlaceState& place) {
  out.setPath(place.path.c_str());
  out.setIsTmpfs(place.is_tmpfs);
  out.setMount(place.mount);
  out.setInode(place.inode);
  out.setHasFolder(place.folder.has_value());
  out.setFolder(place.folder.value_or(0));
  out.setName(data_of(place.name));
}

PlaceState get(schema::Place::Reader in) {
  PlaceState place;
  place.path = text_of(in.getPath());
  place.is_tmpfs = in.getIsTmpfs();
  place.mount = in.getMount();
  place.inode = in.getInode();
  if (in.getHasFolder()) {
    place.folder = in.getFolder();
  }
  place.name = text_of(in.getName());
  return place;
}

void put(schema::File::Builder out, const FileState& file) {
  out.setKind(static_cast<std::uint8_t>(file.kind));
  out.setFlags(file.flags);
  out.setOffset(file.offset);
  put(out.initPlace(), file.place);
  put(out.initIdentity(), file.identity);
  out.setContent(data_of(file.content));
  put_all(out.initListed(count_of(file.listed)), file.listed, kPut);
  out.setNumber(file.number);
  out.setIsSemaphore(file.is_semaphore);
  put_numbers(out.initPipes(count_of(file.pipes)), file.pipes);
  out.setReads(file.reads);
  out.setWrites(file.writes);
  put_deadline(out.initTimer(), file.timer);
  out.setTimerIntervalNs(file.timer_interval_ns);
  out.setTimerIsReal(file.timer_is_real);
  put_all(out.initWatches(count_of(file.watches)), file.watches, kPut);
  out.setWasWatched(file.was_watched);
}

FileState get(schema::File::Reader in) {
  FileState file;
  file.kind = static_cast<FileKind>(in.getKind());
  file.flags = in.getFlags();
  file.offset = in.getOffset();
  file.place = get(in.getPlace());
  file.identity = get(in.getIdentity());
  file.content = text_of(in.getContent());
  file.listed = get_all<std::vector<FileState::Listed>>(in.getListed(), kGet);
  file.number = in.getNumber();
  file.is_semaphore = in.getIsSemaphore();
  file.pipes = get_numbers<std::uint32_t>(in.getPipes());
  file.reads = in.getReads();
  file.writes = in.getWrites();
  file.timer = get_deadline(in.getTimer());
  file.timer_interval_ns = in.getTimerIntervalNs();
  file.timer_is_real = in.getTimerIsReal();
  file.watches = get_all<std::vector<WatchState>>(in.getWatches(), kGet);
  file.was_watched = in.getWasWatched();
  return file;
}

void put(schema::Mapping::Builder out, const MappingState& mapping) {
  out.setId(mapping.id);
  out.setIsTmpfs(mapping.is_tmpfs);
  put(out.initIdentity(), mapping.identity);
  out.setInode(mapping.inode);
}

MappingState get(schema::Mapping::Reader in) {
  return {in.getId(), in.getIsTmpfs(), get(in.getIdentity()), in.getInode()};
}

}  // namespace stasis::linux_guest::codec
