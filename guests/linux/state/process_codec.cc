#include "guests/linux/state/process_codec.h"

#include <sys/time.h>

#include <cstring>

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>

#include "guests/linux/state/codec_parts.h"

namespace stasis::linux_guest {
namespace codec {
// 2: it has timers that the first version does not know, and would forget.
constexpr std::uint32_t kVersion = 2, kVersionPlain = 1;

static Error corrupt(std::string message) {
  return Error{Errc::kCorruption, 0, "state of the Linux process: " + std::move(message)};
}

template <typename List>
static void put_texts(List list, const std::vector<std::string>& texts) {
  unsigned i = 0;
  for (const std::string& text : texts) {
    list.set(i++, text.c_str());
  }
}

template <typename List>
static std::vector<std::string> get_texts(List list) {
  std::vector<std::string> texts;
  for (const capnp::Text::Reader text : list) {
    texts.push_back(text_of(text));
  }
  return texts;
}

static void put(schema::Pipe::Builder out, const PipeState& pipe) {
  out.setBytes(data_of(pipe.bytes));
  out.setActivity(pipe.activity);
}
static PipeState get(schema::Pipe::Reader in) {
  return {bytes_of(in.getBytes()), in.getActivity()};
}

static void put(schema::Descriptor::Builder out, const DescriptorState& descriptor) {
  out.setNumber(descriptor.number);
  out.setFile(descriptor.file);
  out.setClosesOnExec(descriptor.closes_on_exec);
}
static DescriptorState get(schema::Descriptor::Reader in) {
  return {in.getNumber(), in.getFile(), in.getClosesOnExec()};
}

template <typename List>
static void put_blobs(List list, const std::deque<std::vector<std::byte>>& blobs) {
  unsigned i = 0;
  for (const auto& blob : blobs) {
    list.set(i++, data_of(blob));
  }
}
template <typename List>
static std::deque<std::vector<std::byte>> get_blobs(List list) {
  std::deque<std::vector<std::byte>> blobs;
  for (const capnp::Data::Reader blob : list) {
    blobs.push_back(bytes_of(blob));
  }
  return blobs;
}

static void put(schema::Device::Builder out, const StasisDeviceState& device) {
  put_blobs(out.initRequests(count_of(device.requests)), device.requests);
  out.setIsActive(device.is_active);
  out.setRequest(data_of(device.request));
  out.setPosition(device.position);
  out.setHasWritten(device.has_written);
  out.setResponse(data_of(device.response));
  put_blobs(out.initResponses(count_of(device.responses)), device.responses);
  out.setWantsRequest(device.wants_request);
  out.setActivity(device.activity);
}
static StasisDeviceState get(schema::Device::Reader in) {
  return {get_blobs(in.getRequests()),
          in.getIsActive(),
          bytes_of(in.getRequest()),
          in.getPosition(),
          in.getHasWritten(),
          bytes_of(in.getResponse()),
          get_blobs(in.getResponses()),
          in.getWantsRequest(),
          in.getActivity()};
}

// The overloads above, as values.
constexpr auto kPut = [](auto out, const auto& value) { put(out, value); };
constexpr auto kGet = [](auto in) { return get(in); };

static bool has_new_timers(const SignalTimers& timers) {
  return timers.interval[ITIMER_VIRTUAL].next || timers.interval[ITIMER_PROF].next ||
         !timers.posix.empty();
}

static void put(schema::Timer::Builder out, const IntervalTimer& timer) {
  out.setIsSet(timer.next.has_value());
  out.setAtNs(timer.next ? timer.next->at_ns : 0);
  out.setIntervalNs(timer.interval_ns);
}

static IntervalTimer get(schema::Timer::Reader in, ClockKind clock) {
  return {in.getIsSet() ? std::optional(Deadline{clock, in.getAtNs()}) : std::nullopt,
          in.getIntervalNs()};
}

static void put_timers(schema::LinuxProcess::Builder out, const SignalTimers& timers) {
  put_deadline(out.initRealTimer(), timers.interval[ITIMER_REAL].next);
  out.setRealTimerIntervalNs(timers.interval[ITIMER_REAL].interval_ns);
  if (!has_new_timers(timers)) {
    return;
  }
  put(out.initVirtualTimer(), timers.interval[ITIMER_VIRTUAL]);
  put(out.initProfilingTimer(), timers.interval[ITIMER_PROF]);
  out.setNextPosixTimer(timers.next_posix);
  put_all(out.initPosixTimers(count_of(timers.posix)), timers.posix,
          [](schema::PosixTimer::Builder made, const auto& numbered) {
            const auto& [id, timer] = numbered;
            made.setId(id);
            made.setClock(static_cast<std::uint8_t>(timer.clock));
            made.setSignal(timer.signal);
            made.setThread(timer.thread);
            made.setValue(timer.value);
            made.setOverrun(timer.overrun);
            put(made.initTimer(), timer.timer);
          });
}

static SignalTimers get_timers(schema::LinuxProcess::Reader in) {
  SignalTimers timers;
  timers.interval[ITIMER_REAL] = {get_deadline(in.getRealTimer()), in.getRealTimerIntervalNs()};
  timers.interval[ITIMER_VIRTUAL] = get(in.getVirtualTimer(), ClockKind::kProcessor);
  timers.interval[ITIMER_PROF] = get(in.getProfilingTimer(), ClockKind::kProcessor);
  timers.next_posix = in.getNextPosixTimer();
  for (const auto saved : in.getPosixTimers()) {
    const ClockKind clock = saved.getClock() == static_cast<std::uint8_t>(ClockKind::kReal)
                                ? ClockKind::kReal
                            : saved.getClock() == static_cast<std::uint8_t>(ClockKind::kProcessor)
                                ? ClockKind::kProcessor
                                : ClockKind::kMonotonic;
    timers.posix[saved.getId()] = {.clock = clock,
                                   .signal = saved.getSignal(),
                                   .thread = saved.getThread(),
                                   .value = saved.getValue(),
                                   .overrun = saved.getOverrun(),
                                   .timer = get(saved.getTimer(), clock)};
  }
  return timers;
}

static void put_process(schema::LinuxProcess::Builder out, const ProcessState& state) {
  out.setVersion(has_new_timers(state.timers) ? kVersion : kVersionPlain);
  out.setMonotonicNs(state.monotonic_ns);
  put_texts(out.initArguments(count_of(state.arguments)), state.arguments);
  put_texts(out.initEnvironment(count_of(state.environment)), state.environment);
  out.setExecutable(state.executable.c_str());
  out.setUmask(state.umask);
  out.setDumpable(state.dumpable);
  auto limits = out.initLimits(count_of(state.limits) * 2);
  for (unsigned i = 0; i < count_of(state.limits); ++i) {
    limits.set(i * 2, state.limits[i].soft);
    limits.set((i * 2) + 1, state.limits[i].hard);
  }
  out.setWaitedNs(state.waited_ns);
  put_timers(out, state.timers);
  out.setReport(state.report.c_str());
  out.setLastThreadId(state.last_thread_id);
  out.setLastFutexOrder(state.last_futex_order);
  out.setLoadedThread(state.loaded_thread);
  put_all(out.initThreads(count_of(state.threads)), state.threads, kPut);
  put_all(out.initActions(count_of(state.actions)), state.actions, kPut);
  put_all(out.initPending(count_of(state.pending)), state.pending, kPut);
  put_all(out.initInodes(count_of(state.inodes)), state.inodes, kPut);
  out.setLastInode(state.last_inode);
  put_numbers(out.initMountRoots(count_of(state.mount_roots)), state.mount_roots);
  put_all(out.initPipes(count_of(state.pipes)), state.pipes, kPut);
  put_all(out.initFiles(count_of(state.files)), state.files, kPut);
  put_all(out.initDescriptors(count_of(state.descriptors)), state.descriptors, kPut);
  put(out.initWorkingDirectory(), state.working_directory);
  put_all(out.initMappings(count_of(state.mappings)), state.mappings, kPut);
  out.setLastMapping(state.last_mapping);
  put(out.initDevice(), state.device);
}

static Result<ProcessState> get_process(schema::LinuxProcess::Reader in) {
  if (in.getVersion() < kVersionPlain || in.getVersion() > kVersion) {
    return Error{Errc::kNotSupported, 0,
                 "state of the Linux process: version " + std::to_string(in.getVersion()) +
                     "; this program reads 1 to " + std::to_string(kVersion)};
  }
  ProcessState state;
  state.monotonic_ns = in.getMonotonicNs();
  state.arguments = get_texts(in.getArguments());
  state.environment = get_texts(in.getEnvironment());
  state.executable = text_of(in.getExecutable());
  state.umask = in.getUmask();
  state.dumpable = in.getDumpable();
  const auto limits = get_numbers<std::uint64_t>(in.getLimits());
  const auto actions = get_all<std::vector<SignalAction>>(in.getActions(), kGet);
  if (limits.size() != kResourceLimits * 2 || actions.size() != state.actions.size()) {
    return corrupt(std::to_string(limits.size()) + " limits and " + std::to_string(actions.size()) +
                   " signal actions");
  }
  for (std::size_t i = 0; i < kResourceLimits; ++i) {
    state.limits[i] = {limits[i * 2], limits[(i * 2) + 1]};
  }
  std::ranges::copy(actions, state.actions.begin());
  state.waited_ns = in.getWaitedNs();
  state.timers = get_timers(in);
  state.report = text_of(in.getReport());
  state.last_thread_id = in.getLastThreadId();
  state.last_futex_order = in.getLastFutexOrder();
  state.loaded_thread = in.getLoadedThread();
  state.threads = get_all<std::vector<Thread>>(in.getThreads(), kGet);
  state.pending = get_all<std::deque<SignalInfo>>(in.getPending(), kGet);
  state.inodes = get_all<std::vector<InodeState>>(in.getInodes(), kGet);
  state.last_inode = in.getLastInode();
  state.mount_roots = get_numbers<std::uint32_t>(in.getMountRoots());
  state.pipes = get_all<std::vector<PipeState>>(in.getPipes(), kGet);
  state.files = get_all<std::vector<FileState>>(in.getFiles(), kGet);
  state.descriptors = get_all<std::vector<DescriptorState>>(in.getDescriptors(), kGet);
  state.working_directory = get(in.getWorkingDirectory());
  state.mappings = get_all<std::vector<MappingState>>(in.getMappings(), kGet);
  state.last_mapping = in.getLastMapping();
  state.device = get(in.getDevice());
  return state;
}

}  // namespace codec

std::vector<std::byte> encode_process(const ProcessState& state) {
  capnp::MallocMessageBuilder message;
  codec::put_process(message.initRoot<schema::LinuxProcess>(), state);
  const kj::Array<capnp::word> words = capnp::messageToFlatArray(message);
  const auto bytes = std::as_bytes(std::span(words.begin(), words.size()));
  return {bytes.begin(), bytes.end()};
}

Result<ProcessState> decode_process(std::span<const std::byte> bytes) {
  if (bytes.empty() || bytes.size() % sizeof(capnp::word) != 0) {
    return codec::corrupt(std::to_string(bytes.size()) + " bytes are not a message");
  }
  try {
    auto words = kj::heapArray<capnp::word>(bytes.size() / sizeof(capnp::word));
    std::memcpy(words.asBytes().begin(), bytes.data(), bytes.size());
    capnp::ReaderOptions options;
    // Every word about once: a message that points to the same word again and again is refused.
    options.traversalLimitInWords = words.size() + 64;
    options.nestingLimit = 8;
    capnp::FlatArrayMessageReader reader(words, options);
    STASIS_ASSIGN(ProcessState state, codec::get_process(reader.getRoot<schema::LinuxProcess>()));
    STASIS_TRY(check_state(state));
    return state;
  } catch (const kj::Exception& exception) {
    return codec::corrupt(exception.getDescription().cStr());
  }
}

}  // namespace stasis::linux_guest
