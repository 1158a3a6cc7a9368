// The central property with Linux programs: to go on after a save is to go on after its restore, in
// answers, in every byte of memory and in every register.
#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "guests/linux/vm/vdso/time_page.h"
#include "snapshot/checksum.h"
#include "tests/session/linux_kit.h"
#include "tests/support/must.h"

namespace stasis::session {
namespace {

constexpr std::uint64_t kMemoryBytes = std::uint64_t{32} << 20U;
constexpr int kRequests = 5;
constexpr int kDepthMax = 4;

struct Format {
  snapshot::Layout layout;
  snapshot::Codec codec;
};
void PrintTo(const Format& format, std::ostream* out) {  // NOLINT(readability-identifier-naming)
  *out << name_of(format.layout) << ", " << name_of(format.codec);
}

// All that a guest that waits for its next request has. Value.
struct Standing {
  std::string answer;  // To the last request.
  std::vector<std::array<std::uint64_t, 2>> memory;
  std::vector<VcpuState> vcpus;
  std::vector<bool> wake_pending;
};

constexpr std::size_t kPageBytes = 4096;

class LinuxProperty : public LinuxTest, public testing::WithParamInterface<Format> {
 protected:
  static std::string request_text(int n) {
    return "request " + std::to_string(n) + std::string(static_cast<std::size_t>(n) * 7, 'x');
  }

  // Asks request n (none: 0) and looks at the guest when it waits again.
  static Standing ask_and_look(Session& session, int n) {
    Standing standing;
    if (n > 0) {
      standing.answer = ask(session, request_text(n));
    }
    MachineState state = wait_until_parked(session);
    for (VcpuState& vcpu : state.vcpus) {
      std::get<X86VcpuState>(vcpu).tsc = 0;  // It is what time it is.
    }
    standing.vcpus = std::move(state.vcpus);
    standing.wake_pending = std::move(state.wake_pending);
    const GuestMemory& memory = session.machine().memory();
    for (const GpaRange& range : memory.ranges()) {
      const std::span<const std::byte> bytes = must(memory.view(range));
      const std::size_t time = time_page_of(bytes);
      standing.memory.push_back(snapshot::wide_checksum(bytes.first(time)));
      if (time < bytes.size()) {
        standing.memory.push_back(snapshot::wide_checksum(bytes.subspan(time + kPageBytes)));
      }
    }
    return standing;
  }

  // Where the vDSO's time page lies, which the host writes anew when a guest begins or comes back:
  // it is what time it is. bytes.size(): there is none.
  static std::size_t time_page_of(std::span<const std::byte> bytes) {
    std::size_t found = bytes.size();
    for (std::size_t at = 0; at < bytes.size(); at += kPageBytes) {
      stasis_time_page page{};
      std::memcpy(&page, bytes.data() + at, sizeof(page));
      constexpr std::int64_t kLongAgo = 1'500'000'000'000'000'000;  // 2017.
      const auto rest = bytes.subspan(at + sizeof(page), kPageBytes - sizeof(page));
      if (page.mode == STASIS_TIME_BY_COUNTER && page.multiplier != 0 && page.monotonic_ns > 0 &&
          page.real_ns > kLongAgo && page.counter != 0 &&
          std::ranges::all_of(rest, [](std::byte byte) { return byte == std::byte{0}; })) {
        EXPECT_EQ(found, bytes.size()) << "two pages look like it";
        found = at;
      }
    }
    return found;
  }

  // Paused, and its only vCPU waits in the kernel. What the guest does after an answer takes
  // microseconds; there is no event for its end.
  static MachineState wait_until_parked(Session& session) {
    const auto deadline = std::chrono::steady_clock::now() + kWait;
    for (;;) {
      must(session.pause(kWait));
      MachineState state = must(session.machine().save_state());
      if (state.activities.at(0) == VcpuActivity::kParked ||
          session.phase() == GuestPhase::kExited || std::chrono::steady_clock::now() > deadline) {
        EXPECT_EQ(state.activities.at(0), VcpuActivity::kParked);
        return state;
      }
      must(session.resume());
      std::this_thread::yield();
    }
  }

  static void expect_same(const Standing& here, const Standing& there) {
    EXPECT_EQ(here.answer, there.answer);
    EXPECT_EQ(here.memory, there.memory);
    EXPECT_TRUE(here.vcpus == there.vcpus);
    EXPECT_EQ(here.wake_pending, there.wake_pending);
  }

  // From a restore of `name`, saved after `done` requests, to the end.
  void expect_same_future(const std::string& name, int done, const RestoreOptions& options,
                          const std::vector<Standing>& standings) {
    auto session = restore(name, options);
    Standing first = ask_and_look(*session, 0);
    first.answer = standings[static_cast<std::size_t>(done)].answer;
    expect_same(first, standings[static_cast<std::size_t>(done)]);
    for (int n = done + 1; n <= kRequests; ++n) {
      SCOPED_TRACE("request " + std::to_string(n));
      expect_same(ask_and_look(*session, n), standings[static_cast<std::size_t>(n)]);
    }
  }
};

TEST_P(LinuxProperty, ToGoOnIsToRestoreAndGoOnFromEveryRequestAndLinkUnderEveryPolicy) {
  auto original = launch(LINUX_PROGRAMS "ledger", {}, kMemoryBytes);
  must(original->wait_ready(kWait));
  // Held at its first wait; from here on it waits where it would after any request.
  must(original->resume());
  std::vector<Standing> standings;
  SaveOptions save{.layout = GetParam().layout, .codec = GetParam().codec, .sync = false};
  for (int n = 0; n <= kRequests; ++n) {
    standings.push_back(ask_and_look(*original, n));
    // A full snapshot after each request, and a chain of differential ones on the first.
    save.kind = n == 0 || n > kDepthMax ? SaveKind::kFull : SaveKind::kDiff;
    if (save.kind == SaveKind::kDiff) {
      save.full_copy = path("full" + std::to_string(n));
    }
    must(original->save(path((save.kind == SaveKind::kDiff ? "link" : "full") + std::to_string(n)),
                        save));
  }
  for (int n = 0; n < kRequests; ++n) {
    for (const std::string& kind : {std::string("full"), std::string("link")}) {
      if (kind == "link" && (n == 0 || n > kDepthMax)) {
        continue;
      }
      const std::string name = kind + std::to_string(n);
      for (const std::string& policy : policies()) {
        SCOPED_TRACE(name + ", " + policy);
        expect_same_future(name, n, {.policy = policy}, standings);
      }
    }
  }
}

TEST_P(LinuxProperty, ARecordedWorkingSetChangesNothingThatTheGuestCanSee) {
  auto original = launch(LINUX_PROGRAMS "ledger", {}, kMemoryBytes);
  must(original->wait_ready(kWait));
  must(original->resume());
  std::vector<Standing> standings = {ask_and_look(*original, 0)};
  must(original->save(path("warm"),
                      {.layout = GetParam().layout, .codec = GetParam().codec, .sync = false}));
  for (int n = 1; n <= kRequests; ++n) {
    standings.push_back(ask_and_look(*original, n));
  }
  auto recorder = restore("warm", {.policy_options = {.huge_pages = HugePages::kNever}});
  ask(*recorder, request_text(1));
  const WorkingSetReport report = must(recorder->record_working_set());
  EXPECT_GT(report.written_bytes, 0U);
  for (int i = 0; i < 3; ++i) {
    expect_same_future("warm", 0, {.policy = "working-set"}, standings);
  }
  // As far as the guest had not answered before.
  auto session = restore("warm", {.policy = "working-set"});
  ask(*session, request_text(1));
  EXPECT_GT(must(session->counters()).populated_bytes, 0U);
}

// What is brought in is not what the guest wrote, but a tracker could not tell.
TEST_P(LinuxProperty, UnderATrackerNoWorkingSetIsBroughtIn) {
  auto original = launch(LINUX_PROGRAMS "ledger", {}, kMemoryBytes);
  must(original->wait_ready(kWait));
  must(original->save(path("warm"),
                      {.layout = GetParam().layout, .codec = GetParam().codec, .sync = false}));
  auto recorder = restore("warm", {.policy_options = {.huge_pages = HugePages::kNever}});
  ask(*recorder, request_text(1));
  must(recorder->record_working_set());
  const Capabilities& capabilities = backend_->capabilities();
  int trackers = 0;
  for (const Availability& tracker : snapshot::list_trackers(capabilities)) {
    if (!tracker.available) {
      continue;
    }
    SCOPED_TRACE(tracker.name);
    auto session = Session::restore(*backend_, path("warm"),
                                    {.policy = "working-set", .tracker = tracker.name});
    if (!session) {  // Some want memory without a file behind it.
      EXPECT_EQ(session.error().code, Errc::kNotSupported) << session.error().to_string();
      continue;
    }
    ask(**session, request_text(1));
    EXPECT_EQ(must((*session)->counters()).populated_bytes, 0U);
    ++trackers;
  }
  EXPECT_GT(trackers, 0);
}

INSTANTIATE_TEST_SUITE_P(Formats, LinuxProperty,
                         testing::Values(Format{snapshot::Layout::kMappable,
                                                snapshot::Codec::kNone},
                                         Format{snapshot::Layout::kPacked, snapshot::Codec::kNone},
                                         Format{snapshot::Layout::kPacked, snapshot::Codec::kLz4}));

}  // namespace
}  // namespace stasis::session
