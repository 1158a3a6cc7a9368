#include "experiments/restore_latency/cells.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace stasis::experiments {
namespace {

constexpr std::uint64_t kPagesPerMib = 256;
// Of a guest's memory, what its own program, stacks and mailbox need and the pages that pagetoucher
// numbers therefore do not cover, with room to spare.
constexpr std::uint64_t kReservedMib = 8;
// What a trial's process needs beside guest memory.
constexpr std::uint64_t kProcessMib = 64;

std::string bytes_of(std::uint64_t mib) {
  return std::to_string(mib << 20U);
}

std::string on_off(bool on) {
  return on ? "on" : "off";
}

std::uint64_t usable_mib(std::uint64_t mib) {
  return mib - kReservedMib;
}

// A request that visits `percent` of the guest's pages in random order and writes to 30 % of them;
// 0 percent: one page.
std::string touch_request(std::uint64_t mib, std::uint32_t percent) {
  if (percent == 0) {
    return "touch count=1";
  }
  const std::uint64_t pages = usable_mib(mib) * kPagesPerMib;
  const std::uint64_t count = std::max<std::uint64_t>(1, pages * percent / 100);
  return fmt::format("touch count={} stride={} order=random seed=7 write=30", count, pages / count);
}

// A request that writes to `percent` of the guest's pages: the first ones, or single pages at equal
// distances all over memory, which is the hard case for extents.
std::string dirty_request(std::uint64_t mib, std::uint32_t percent, Spread spread) {
  const std::uint64_t pages = usable_mib(mib) * kPagesPerMib;
  const std::uint64_t count = std::max<std::uint64_t>(1, pages * percent / 100);
  return fmt::format("touch count={} stride={} order=random seed=9 write=1", count,
                     spread == Spread::kScattered ? pages / count : 1);
}

// Collects the cells and what they need.
class Builder {
 public:
  Builder(std::string name, const Workload& workload) : workload_(workload) {
    experiment_.name = std::move(name);
  }
  Experiment finish() && { return std::move(experiment_); }

  // A full snapshot: of `mib` with its first `filled_mib` not zero.
  void full_snapshot(const std::string& name, std::uint64_t mib, std::uint64_t filled_mib,
                     const std::string& extra, const std::string& layout,
                     const std::string& codec) {
    TrialRequest request{.kind = "prepare"};
    request.parameters = {{"backend", workload_.backend},
                          {"guest", workload_.is_toy ? "toy:counter" : "pagetoucher"},
                          {"memory_bytes", bytes_of(mib)},
                          {"out", "@/" + name},
                          {"layout", layout},
                          {"codec", codec},
                          {"threads", "2"}};
    if (!workload_.is_toy) {
      request.parameters["arguments"] =
          fmt::format("{} seed=3{}", filled_mib, extra.empty() ? "" : " " + extra);
    }
    experiment_.preparations.push_back(
        {.what = "the snapshot " + name, .product = name, .trial = std::move(request)});
  }
  void diff_snapshot(const std::string& name, const std::string& parent, std::uint64_t mib) {
    TrialRequest request{.kind = "save_diff"};
    request.parameters = {{"backend", workload_.backend},
                          {"snapshot", "@/" + parent},
                          {"tracker", "auto"},
                          {"request", dirty(mib, 10, Spread::kScattered)},
                          {"out", "@/" + name},
                          {"keep", "yes"}};
    experiment_.preparations.push_back({.what = "the differential snapshot " + name,
                                        .product = name,
                                        .trial = std::move(request)});
  }

  // A trial may take `fresh_mib` MiB of memory, and room for itself.
  PlannedCell& add(std::uint64_t fresh_mib, std::string id, Factors factors, std::string headline,
                   TrialRequest trial) {
    trial.parameters.emplace("backend", workload_.backend);
    experiment_.cells.push_back({.cell = {.id = std::move(id),
                                          .factors = std::move(factors),
                                          .headline = std::move(headline),
                                          .floor_cell = {},
                                          .floor_metric = {}},
                                 .trial = std::move(trial),
                                 .fresh_bytes = (fresh_mib + kProcessMib) << 20U});
    return experiment_.cells.back();
  }

  struct Restore {
    std::string id;
    std::string snapshot;
    std::string parent;  // Of a differential snapshot.
    std::string policy;
    std::uint64_t mib = 0;
    std::uint32_t percent = 0;
    std::uint32_t threads = 1;
    bool verify = true;
    std::string headline;
    CacheState cache = CacheState::kWarm;
  };
  PlannedCell& restore(const Restore& wanted) {
    TrialRequest request{.kind = "restore"};
    request.parameters = {{"snapshot", "@/" + wanted.snapshot},
                          {"policy", wanted.policy},
                          {"threads", std::to_string(wanted.threads)},
                          {"verify", on_off(wanted.verify)},
                          {"request", touch(wanted.mib, wanted.percent)}};
    PlannedCell& planned =
        add(wanted.policy == "eager" ? wanted.mib : wanted.mib * wanted.percent / 100, wanted.id,
            {{"kind", "restore"},
             {"policy", wanted.policy},
             {"snapshot", wanted.snapshot},
             {"memory", size_name(wanted.mib)},
             {"touched", wanted.percent == 0 ? "1 page" : fmt::format("{} %", wanted.percent)},
             {"threads", std::to_string(wanted.threads)},
             {"verify", on_off(wanted.verify)},
             {"cache", std::string(name_of(wanted.cache))}},
            // The mock has no counter that says when the first instruction ran.
            workload_.is_toy ? "first_response_ns" : wanted.headline, std::move(request));
    planned.cached_directories = {wanted.snapshot};
    if (!wanted.parent.empty()) {
      planned.cached_directories.push_back(wanted.parent);
    }
    planned.cache = wanted.cache;
    return planned;
  }

  [[nodiscard]] const Workload& workload() const { return workload_; }
  [[nodiscard]] std::string touch(std::uint64_t mib, std::uint32_t percent) const {
    return workload_.is_toy ? "next" : touch_request(mib, percent);
  }
  [[nodiscard]] std::string dirty(std::uint64_t mib, std::uint32_t percent, Spread spread) const {
    return workload_.is_toy ? "next" : dirty_request(mib, percent, spread);
  }

 private:
  Workload workload_;
  Experiment experiment_;
};

void with_floor(PlannedCell& planned, std::string cell, std::string metric) {
  planned.cell.floor_cell = std::move(cell);
  planned.cell.floor_metric = std::move(metric);
}

std::string full_name(std::uint64_t mib) {
  return "full-" + size_name(mib);
}

void add_bare_kvm(Builder& builder, std::uint64_t mib) {
  TrialRequest request{.kind = "floor_kvm", .parameters = {{"memory_bytes", bytes_of(mib)}}};
  builder.add(0, bare_kvm_id(mib), {{"kind", "floor"}, {"memory", size_name(mib)}},
              "first_instruction_ns", std::move(request));
}

void add_floors(Builder& builder) {
  const Sizes& sizes = builder.workload().sizes;
  if (builder.workload().has_bare_kvm_floor) {
    for (const std::uint64_t mib : {sizes.small_mib, sizes.middle_mib, sizes.large_mib}) {
      add_bare_kvm(builder, mib);
    }
  }
  const std::string payload = "@/" + full_name(sizes.small_mib) + "/memory";
  PlannedCell& pread =
      builder.add(sizes.small_mib, pread_floor_id(sizes),
                  {{"kind", "floor"}, {"memory", size_name(sizes.small_mib)}}, "pread_ns",
                  {.kind = "floor_pread", .parameters = {{"path", payload}}});
  pread.cached_directories = {full_name(sizes.small_mib)};
  pread.cache = CacheState::kWarm;
  // The data, its compressed form, and the data again.
  builder.add(3 * sizes.small_mib, lz4_floor_id(sizes),
              {{"kind", "floor"}, {"memory", size_name(sizes.small_mib)}}, "decompress_ns",
              {.kind = "floor_lz4", .parameters = {{"path", payload}}});
  // Memory and the file; the same for every full save, and for the small guest's differential ones.
  builder.add(2 * sizes.middle_mib, save_floor_id(sizes),
              {{"kind", "floor"}, {"memory", size_name(sizes.middle_mib)}}, "slower_ns",
              {.kind = "floor_save",
               .parameters = {{"path", "@/" + full_name(sizes.middle_mib) + "/memory"},
                              {"scratch", "@/floor-file"}}});
}

// A restore of a full snapshot as a user meets it, up to the first response; `percent` as in
// touch_request(). An eager one has two threads.
void add_touching(Builder& builder, const std::string& policy, std::uint64_t mib,
                  std::uint32_t percent, CacheState cache) {
  builder.restore({.id = touching_id(policy, mib, percent, cache),
                   .snapshot = full_name(mib),
                   .parent = {},
                   .policy = policy,
                   .mib = mib,
                   .percent = percent,
                   .threads = policy == "eager" ? 2U : 1U,
                   .headline = "first_response_ns",
                   .cache = cache});
}

void add_lazy(Builder& builder) {
  const Sizes& sizes = builder.workload().sizes;
  for (const std::uint64_t mib : {sizes.small_mib, sizes.middle_mib, sizes.large_mib}) {
    PlannedCell& planned = builder.restore({.id = lazy_id(mib),
                                            .snapshot = full_name(mib),
                                            .parent = {},
                                            .policy = "lazy",
                                            .mib = mib,
                                            .headline = "first_instruction_ns"});
    if (builder.workload().has_bare_kvm_floor) {
      with_floor(planned, bare_kvm_id(mib), "first_instruction_ns");
    }
  }
  for (const std::uint32_t percent : {1U, 10U}) {
    for (const CacheState cache : {CacheState::kWarm, CacheState::kCold}) {
      add_touching(builder, "lazy", sizes.small_mib, percent, cache);
    }
  }
  add_touching(builder, "lazy", sizes.middle_mib, 0, CacheState::kCold);
  add_touching(builder, "lazy", sizes.middle_mib, 10, CacheState::kWarm);
  add_touching(builder, "lazy", sizes.middle_mib, 10, CacheState::kCold);
}

// Where filling before the guest runs and filling while it runs change places.
void add_large_touched_sets(Builder& builder) {
  for (const char* policy : {"lazy", "eager"}) {
    for (const std::uint32_t percent : {50U, 100U}) {
      add_touching(builder, policy, builder.workload().sizes.small_mib, percent, CacheState::kWarm);
    }
  }
}

void add_eager(Builder& builder) {
  const Sizes& sizes = builder.workload().sizes;
  const std::uint64_t mib = sizes.small_mib;
  for (const auto& [threads, verify] :
       {std::pair{1U, true}, std::pair{2U, true}, std::pair{1U, false}, std::pair{2U, false}}) {
    PlannedCell& raw = builder.restore({.id = eager_id(sizes, threads, verify),
                                        .snapshot = full_name(mib),
                                        .parent = {},
                                        .policy = "eager",
                                        .mib = mib,
                                        .threads = threads,
                                        .verify = verify,
                                        .headline = "first_instruction_ns"});
    with_floor(raw, pread_floor_id(sizes), "pread_ns");
    PlannedCell& lz4 = builder.restore({.id = eager_lz4_id(sizes, threads, verify),
                                        .snapshot = "lz4-" + size_name(mib),
                                        .parent = {},
                                        .policy = "eager",
                                        .mib = mib,
                                        .threads = threads,
                                        .verify = verify,
                                        .headline = "first_instruction_ns"});
    with_floor(lz4, lz4_floor_id(sizes), "decompress_ns");
  }
  for (const CacheState cache : {CacheState::kWarm, CacheState::kCold}) {
    add_touching(builder, "eager", mib, 10, cache);
  }
  for (const std::uint32_t percent : {0U, 10U}) {
    add_touching(builder, "eager", sizes.middle_mib, percent, CacheState::kWarm);
  }
}

void add_chains(Builder& builder) {
  const std::uint64_t mib = builder.workload().sizes.small_mib;
  for (const char* policy : {"lazy", "eager"}) {
    for (const CacheState cache : {CacheState::kWarm, CacheState::kCold}) {
      builder.restore({.id = fmt::format("restore/{}-diff/{}/touch10/{}", policy, size_name(mib),
                                         name_of(cache)),
                       .snapshot = "diff-" + size_name(mib),
                       .parent = full_name(mib),
                       .policy = policy,
                       .mib = mib,
                       .percent = 10,
                       .threads = 2,
                       .headline = "first_response_ns",
                       .cache = cache});
    }
  }
}

PlannedCell& add_save_full(Builder& builder, std::string id, const std::string& snapshot,
                           std::uint32_t threads, bool sync) {
  TrialRequest request{.kind = "save_full"};
  request.parameters = {{"snapshot", "@/" + snapshot},
                        {"out", "@/saved"},
                        {"threads", std::to_string(threads)},
                        {"sync", on_off(sync)}};
  return builder.add(2 * builder.workload().sizes.middle_mib, std::move(id),
                     {{"kind", "save"},
                      {"save", "full"},
                      {"snapshot", snapshot},
                      {"threads", std::to_string(threads)},
                      {"sync", on_off(sync)}},
                     "save_ns", std::move(request));
}

void add_save_diff(Builder& builder, std::uint32_t percent, Spread spread) {
  const Sizes& sizes = builder.workload().sizes;
  TrialRequest request{.kind = "save_diff"};
  request.parameters = {{"snapshot", "@/" + full_name(sizes.small_mib)},
                        {"tracker", "auto"},
                        {"request", builder.dirty(sizes.small_mib, percent, spread)},
                        {"out", "@/saved"},
                        {"sync", "off"}};
  builder.add(2 * sizes.small_mib, save_diff_id(sizes, percent, spread),
              {{"kind", "save"},
               {"save", "diff"},
               {"memory", size_name(sizes.small_mib)},
               {"dirty", fmt::format("{} %", percent)},
               {"spread", spread == Spread::kScattered ? "scattered" : "clustered"}},
              "save_ns", std::move(request));
}

void add_saves(Builder& builder) {
  const Sizes& sizes = builder.workload().sizes;
  for (const auto& [threads, sync] :
       {std::pair{1U, false}, std::pair{2U, false}, std::pair{2U, true}}) {
    PlannedCell& planned = add_save_full(builder, save_full_id(sizes, threads, sync),
                                         full_name(sizes.middle_mib), threads, sync);
    with_floor(planned, save_floor_id(sizes), sync ? "slower_sync_ns" : "slower_ns");
  }
  if (!builder.workload().is_toy) {
    // The same amount of data, but every other page of all memory: the hard case for extents.
    add_save_full(builder, fmt::format("save/full-scattered/{}/t2", size_name(sizes.middle_mib)),
                  "scattered-" + size_name(sizes.middle_mib), 2, false);
  }
  if (builder.workload().is_toy) {
    add_save_diff(builder, kDirtyPercents[0], Spread::kClustered);  // It has but one dirty set.
    return;
  }
  for (const std::uint32_t percent : kDirtyPercents) {
    add_save_diff(builder, percent, Spread::kClustered);
  }
  for (const std::uint32_t percent : kScatteredPercents) {
    add_save_diff(builder, percent, Spread::kScattered);
  }
}

void add_snapshots(Builder& builder) {
  const Sizes& sizes = builder.workload().sizes;
  const std::uint64_t small = sizes.small_mib;
  builder.full_snapshot(full_name(small), small, usable_mib(small), "", "mappable", "none");
  builder.full_snapshot(full_name(sizes.middle_mib), sizes.middle_mib, sizes.middle_mib / 2, "",
                        "mappable", "none");
  builder.full_snapshot(full_name(sizes.large_mib), sizes.large_mib, sizes.large_mib / 2, "",
                        "mappable", "none");
  builder.full_snapshot("lz4-" + size_name(small), small, usable_mib(small), "", "packed", "lz4");
  if (!builder.workload().is_toy) {
    builder.full_snapshot("scattered-" + size_name(sizes.middle_mib), sizes.middle_mib,
                          usable_mib(sizes.middle_mib), "zero=50", "mappable", "none");
  }
  builder.diff_snapshot("diff-" + size_name(small), full_name(small), small);
}

}  // namespace

Experiment restore_latency_experiment(const Workload& workload) {
  Builder builder("restore_latency", workload);
  add_snapshots(builder);
  add_floors(builder);
  add_lazy(builder);
  add_eager(builder);
  add_large_touched_sets(builder);
  add_chains(builder);
  add_saves(builder);
  return std::move(builder).finish();
}

Experiment floor_experiment(const Workload& workload) {
  Builder builder("floor", workload);
  if (workload.has_bare_kvm_floor) {
    for (const std::uint64_t mib :
         {workload.sizes.small_mib, workload.sizes.middle_mib, workload.sizes.large_mib}) {
      add_bare_kvm(builder, mib);
    }
  }
  const auto bytes = bytes_of(workload.sizes.small_mib);
  for (const char* metric :
       {"first_touch_anonymous_4k", "first_touch_anonymous_huge", "first_touch_memfd_shared",
        "memcpy", "memcpy_to_fresh", "zero_scan", "xxh3", "lz4_compress", "lz4_decompress"}) {
    builder.add(3 * workload.sizes.small_mib,
                fmt::format("floor/{}/{}", metric, size_name(workload.sizes.small_mib)),
                {{"kind", "floor"}, {"memory", size_name(workload.sizes.small_mib)}},
                std::string(metric) + "_ns",
                {.kind = "floor_memory", .parameters = {{"bytes", bytes}, {"only", metric}}});
  }
  return std::move(builder).finish();
}

}  // namespace stasis::experiments
