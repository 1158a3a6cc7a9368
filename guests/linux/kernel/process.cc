#include "guests/linux/kernel/process.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/resource.h>

#include "guests/linux/kernel/system_files.h"

namespace stasis::linux_guest {
namespace {

constexpr std::size_t kReportBytesMax = 16384;

std::array<ResourceLimit, kResourceLimits> initial_limits() {
  std::array<ResourceLimit, kResourceLimits> limits{};
  limits.fill({RLIM64_INFINITY, RLIM64_INFINITY});
  limits[RLIMIT_STACK] = {std::uint64_t{8} << 20U, RLIM64_INFINITY};
  limits[RLIMIT_NOFILE] = {1024, static_cast<std::uint64_t>(kDescriptorsMax)};
  limits[RLIMIT_CORE] = {0, 0};
  limits[RLIMIT_NPROC] = {kThreadsMax, kThreadsMax};
  limits[RLIMIT_NICE] = limits[RLIMIT_RTPRIO] = {0, 0};
  return limits;
}

}  // namespace

Process::Process(KernelConfig the_config, AddressSpace& the_memory, std::unique_ptr<Vfs> the_vfs)
    : config(std::move(the_config)),
      memory(&the_memory),
      clock(*config.clock),
      vfs(std::move(the_vfs)),
      device(config.response_bytes_max),
      limits(initial_limits()) {
  threads.set_last_id(kProcessId);
  add_device_files(*this);
  add_proc_files(*this);
  add_self_files(*this);
  add_etc_files(*this);
}

Process::~Process() = default;

void Process::random(std::span<std::byte> out) const {
  if (config.random) {
    config.random(out);
    return;
  }
  while (!out.empty()) {
    const auto got = ::getrandom(out.data(), out.size(), 0);
    STASIS_CHECK(got > 0 || errno == EINTR);  // Cannot fail otherwise (getrandom(2)).
    out = out.subspan(got > 0 ? static_cast<std::size_t>(got) : 0);
  }
}

void Process::end(int code, int signal, const std::string& report) {
  has_exited = true;
  exit.code = code;
  exit.signal = signal;
  exit.report += report;
  threads.clear();
  if (signal == 0) {
    device.finish_response();  // Its files are closed: what it has written is its answer.
  }
}

void Process::note(const std::string& line) {
  if (exit.report.size() + line.size() < kReportBytesMax) {
    exit.report += line + "\n";
  }
}

void Process::send_to_process(int signal, int code) {
  if (!threads.all().empty()) {
    signals.send({.signal = signal, .code = code}, nullptr, threads.all().begin()->second);
  }
}

}  // namespace stasis::linux_guest
