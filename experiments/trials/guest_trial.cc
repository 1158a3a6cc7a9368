#include "experiments/trials/guest_trial.h"

#include <charconv>
#include <optional>
#include <span>
#include <system_error>
#include <utility>

namespace stasis::experiments {

using session::Session;

Result<session::SaveOptions> save_options(const TrialRequest& request) {
  session::SaveOptions options;
  STASIS_ASSIGN(const std::uint64_t threads, request.number("threads", 1));
  STASIS_ASSIGN(const std::uint64_t chunk, request.number("chunk_bytes", options.chunk_bytes));
  options.threads = static_cast<std::uint32_t>(threads);
  options.chunk_bytes = static_cast<std::uint32_t>(chunk);
  options.layout = request.text("layout", "mappable") == "packed" ? snapshot::Layout::kPacked
                                                                  : snapshot::Layout::kMappable;
  options.codec =
      request.text("codec", "none") == "lz4" ? snapshot::Codec::kLz4 : snapshot::Codec::kNone;
  options.sync = request.text("sync", "on") == "on";
  return options;
}

Result<session::RestoreOptions> restore_options(const TrialRequest& request) {
  session::RestoreOptions options;
  options.policy = request.text("policy", "eager");
  STASIS_ASSIGN(const std::uint64_t threads, request.number("threads", 1));
  options.policy_options.threads = static_cast<std::uint32_t>(threads);
  options.policy_options.verify =
      request.text("verify", "on") == "on" ? snapshot::Verify::kOn : snapshot::Verify::kOff;
  options.policy_options.huge_pages = request.text("huge_pages", "transparent") == "never"
                                          ? HugePages::kNever
                                          : HugePages::kTransparent;
  options.tracker = request.text("tracker");
  STASIS_ASSIGN(const std::uint64_t spawned_at, request.number("spawned_at", 0));
  if (spawned_at != 0) {
    options.spawned_at = static_cast<MonotonicNs>(spawned_at);
  }
  return options;
}

Result<session::LaunchOptions> launch_options(const TrialRequest& request) {
  session::LaunchOptions launch;
  launch.guest = request.text("guest");
  if (const std::string arguments = request.text("arguments"); !arguments.empty()) {
    launch.arguments = {arguments};
  }
  STASIS_ASSIGN(launch.memory_bytes, request.number("memory_bytes", launch.memory_bytes));
  STASIS_ASSIGN(const std::uint64_t vcpus, request.number("vcpus", launch.vcpus));
  launch.vcpus = static_cast<std::uint32_t>(vcpus);
  return launch;
}

Result<std::string> ask(Session& guest, std::span<const std::byte> request) {
  STASIS_ASSIGN(const session::Response response, guest.request(request, kPatience));
  const auto* text = static_cast<const char*>(static_cast<const void*>(response.bytes.data()));
  std::string answer(text, response.bytes.size());
  if (answer.starts_with("error")) {
    return Error{.code = Errc::kGuestFault, .message = "the guest refused a request: " + answer};
  }
  return answer;
}

Result<std::string> ask(Session& guest, const std::string& request) {
  auto answer = ask(guest, std::as_bytes(std::span(request)));
  if (!answer) {
    return std::move(answer).error().with_context("'" + request + "'");
  }
  return answer;
}

Result<std::uint64_t> number_in(const std::string& answer, const std::string& name) {
  const std::string key = name + "=";
  const std::size_t found = answer.find(key);
  std::uint64_t value = 0;
  if (found != std::string::npos) {
    const char* begin = answer.data() + found + key.size();
    const char* end = answer.data() + answer.size();
    if (std::from_chars(begin, end, value).ec == std::errc{}) {
      return value;
    }
  }
  return Error{.code = Errc::kGuestFault,
               .message = "the guest's answer has no number '" + name + "': " + answer};
}

std::string proof_of(const std::string& answer) {
  const std::size_t begin = answer.find("hash=");
  return begin == std::string::npos ? answer
                                    : answer.substr(begin, answer.find(' ', begin) - begin);
}

void add_milestones(const MilestoneLog& log, TrialReply& reply) {
  for (std::size_t i = 0; i < kMilestoneCount; ++i) {
    const auto milestone = static_cast<Milestone>(i);
    const std::optional<std::int64_t> ns = log.since_begin(milestone);
    if (ns && milestone != Milestone::kBegin && milestone != Milestone::kSpawn) {
      reply.metrics[std::string(name_of(milestone)) + "_ns"] = number(*ns);
    }
  }
  if (const std::optional<std::int64_t> spawn = log.since_begin(Milestone::kSpawn); spawn) {
    reply.metrics["spawn_to_begin_ns"] = number(-*spawn);
    if (const auto first = reply.metrics.find("first_instruction_ns");
        first != reply.metrics.end()) {
      reply.metrics["spawn_to_first_instruction_ns"] = first->second - number(*spawn);
    }
  }
}

Result<void> add_counters(Session& guest, TrialReply& reply) {
  STASIS_TRY(guest.pause(kPatience));
  STASIS_ASSIGN(const session::SessionCounters counters, guest.counters());
  reply.metrics["minor_faults"] = number(counters.minor_faults);
  reply.metrics["major_faults"] = number(counters.major_faults);
  reply.metrics["filled_bytes"] = number(counters.filled_bytes);
  reply.metrics["mappings"] = number(counters.mappings);
  reply.metrics["vcpu_entries"] = number(counters.machine.entries);
  reply.metrics["io_exits"] = number(counters.machine.io_exits);
  reply.metrics["user_cpu_ns"] = number(counters.user_cpu_ns);
  reply.metrics["system_cpu_ns"] = number(counters.system_cpu_ns);
  return {};
}

}  // namespace stasis::experiments
