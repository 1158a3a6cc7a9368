// What `stasis-trial` can do, each in a process of its own.
//
//   floor_kvm      memory_bytes                 bare KVM to the first instruction
//   floor_pread    path block_bytes             page cache into fresh huge-page memory
//   floor_lz4      path chunk_bytes             the library alone, one thread
//   floor_save     path chunk_bytes scratch     zero scan, XXH3, write, fdatasync
//   floor_memory   only bytes                   one of: first touch, memcpy, zero scan, XXH3, LZ4
//   prepare        backend guest arguments memory_bytes out layout codec threads
//   restore        backend snapshot policy threads verify huge_pages request spawned_at
//   save_full      backend snapshot out threads sync layout codec
//   save_diff      backend snapshot tracker request out sync keep
//
// Experiments add kinds of their own (Definition::trials). Metrics end in their unit: _ns, _bytes,
// _pages, or count nothing but events.
#pragma once

#include <span>

#include "experiments/harness/definition.h"
#include "experiments/harness/trial.h"

namespace stasis::experiments {

// Runs in the calling process, which should be fresh. Errors are in the reply; a kind that does not
// exist is one.
TrialReply run_trial(const TrialRequest& request);

// The kinds above, by group.
std::span<const TrialKind> floor_trials();
std::span<const TrialKind> guest_trials();

}  // namespace stasis::experiments
