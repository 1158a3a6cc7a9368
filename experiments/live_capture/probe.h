// The jitter guest, launched and asked: what a save costs a guest as the guest itself sees it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "core/hypervisor.h"
#include "core/result.h"
#include "session/session.h"

namespace stasis::experiments {

// Value.
struct ProbeOptions {
  std::uint64_t memory_bytes = std::uint64_t{1536} << 20U;
  std::uint64_t write_mib = 64;    // The guest writes to these while it watches...
  std::uint64_t pace_ns = 20'000;  // ...one page every so often.
  HugePages huge_pages = HugePages::kTransparent;
  std::string mechanism = "auto";
  std::string tracker = "dirty-log";  // Of differential saves.
  std::string directory;              // For snapshots; exists.
};

using Metrics = std::map<std::string, double>;

// Not thread-safe. Each measurement gives what the guest saw (guest_longest_gap_ns,
// guest_longest_write_ns, guest_writes) and what the host knows (paused_ns and more).
class Probe {
 public:
  // A guest whose memory is nearly all filled. `backend` must outlive it.
  static Result<std::unique_ptr<Probe>> launch(HypervisorBackend& backend, ProbeOptions options);

  // Nothing happens: what the host's scheduler does to a guest.
  Result<Metrics> idle();
  // All of memory is write-protected with the guest standing still, and given back: the least that
  // arming costs when nothing is done before the pause.
  Result<Metrics> arming();
  Result<Metrics> live_save();
  Result<Metrics> still_save();
  // The guest dirties `percent` of its memory under options.tracker, and that is saved with the
  // guest standing still. The first call also saves the parent.
  Result<Metrics> still_diff(std::uint32_t percent);

 private:
  Probe(ProbeOptions options, std::unique_ptr<session::Session> guest, std::uint64_t filled_mib)
      : options_(std::move(options)), guest_(std::move(guest)), filled_mib_(filled_mib) {}
  Result<std::string> ask(const std::string& request);
  Result<void> begin();
  Result<void> end(Metrics& metrics);
  Result<session::SaveReport> save(const session::SaveOptions& save_options);

  ProbeOptions options_;
  std::unique_ptr<session::Session> guest_;
  std::uint64_t filled_mib_;
  std::uint32_t saves_ = 0;
  bool has_parent_ = false;
};

}  // namespace stasis::experiments
