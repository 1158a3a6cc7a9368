// Pager: pages that are missing until somebody touches them, and what a plan brings in before.
// Private to snapshot/restore/.
//
// Memory is registered with userfaultfd(2). A touch of a missing page, by a guest or by the host,
// sleeps until a handler thread has read the page's chunk, compared it with its checksum and
// installed the page: nobody ever sees a byte of it that was not checked. A chunk that cannot be
// read, or is not what was saved, is never installed. Then check() fails for ever, the vCPUs are
// called out of the guest with their touches unanswered, and only then is the memory let go, so
// that whoever of the host still waits comes back and finds out, too (decision 0038).
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "core/guest_memory.h"
#include "core/host_thread.h"
#include "core/mutex.h"
#include "core/page_provider.h"
#include "core/result.h"
#include "core/unique_fd.h"
#include "snapshot/access_trace.h"
#include "snapshot/linux/missing_faults.h"
#include "snapshot/restore/chunk_cache.h"
#include "snapshot/restore/fetcher.h"
#include "snapshot/restore/plan.h"

namespace stasis::snapshot::internal {

// Thread-safe as a PageProvider; made, fetched into and destroyed by one owner thread.
class Pager final : public PageProvider {
 public:
  // Serves the ServeMissing steps of `plan` in `memory`, which it is then attached to, and executes
  // plan.fetch: wholly before it returns, unless that is concurrent. Notes every served touch in
  // `recorder` (outlives it; may be null). Shares `chain`. kNotSupported or kIo where the host does
  // not permit it (the message names the cure); kCorruption and kIo of what is read before the
  // guest runs.
  static Result<std::unique_ptr<Pager>> start(const SnapshotChain& chain, const RestorePlan& plan,
                                              const PlanInput& input, GuestMemory& memory,
                                              AccessRecorder* recorder);
  ~Pager() override;
  Pager(const Pager&) = delete;
  Pager& operator=(const Pager&) = delete;
  Pager(Pager&&) = delete;
  Pager& operator=(Pager&&) = delete;

  [[nodiscard]] Result<void> check() const override;
  Result<void> provide_all() override;
  void on_failure(std::function<void()> called) override;

 private:
  Pager(GuestMemory& memory, StoredPages stored, std::vector<SourceExtent> sources,
        FaultService service, AccessRecorder* recorder);
  Result<void> begin_serving();
  Result<void> fetch(const Fetch& fetch);
  [[nodiscard]] MissingPages missing_pages();

  // Handler threads.
  void serve();
  Result<void> answer_waiting(ChunkCache& cache);
  Result<void> answer(const MissingFault& fault, ChunkCache& cache);
  void fail(Error error);

  Result<void> install_all();
  void stop_threads();
  void let_go();  // Unregisters everything.

  // Constant after start().
  GuestMemory& memory_;
  const StoredPages stored_;
  const std::vector<SourceExtent> sources_;  // In address order; what is missing, or fetched.
  const FaultService service_;
  AccessRecorder* const recorder_;
  std::optional<MissingFaults> faults_;  // None where nothing is missing.
  std::vector<std::span<std::byte>> registered_;
  UniqueFd stop_event_;
  // Relaxed, both: whoever reads what another thread has provided has synchronised with it anyhow.
  std::atomic<bool> failed_ = false;
  std::atomic<bool> stopping_ = false;

  mutable Mutex mutex_;
  std::optional<Error> failure_ STASIS_GUARDED_BY(mutex_);
  std::function<void()> on_failure_ STASIS_GUARDED_BY(mutex_);

  // Owner thread only.
  std::optional<Fetch> background_fetch_;  // Read by its thread.
  HostThread fetch_thread_;
  std::vector<HostThread> handlers_;
};

}  // namespace stasis::snapshot::internal
