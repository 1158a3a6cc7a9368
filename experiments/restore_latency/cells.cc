#include "experiments/restore_latency/cells.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "experiments/restore_latency/checks.h"

namespace stasis::experiments {
namespace {

std::string full_name(std::uint64_t mib) {
  return "full-" + size_name(mib);
}

void add_bare_kvm(CellBuilder& builder, std::uint64_t mib) {
  TrialRequest request{.kind = "floor_kvm", .parameters = {{"memory_bytes", bytes_of(mib)}}};
  builder.add(0, bare_kvm_id(mib), {{"kind", "floor"}, {"memory", size_name(mib)}},
              "first_instruction_ns", std::move(request));
}

void add_floors(CellBuilder& builder) {
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
void add_touching(CellBuilder& builder, const std::string& policy, std::uint64_t mib,
                  std::uint32_t percent, CacheState cache) {
  builder.restore({.id = touching_id(policy, mib, percent, cache),
                   .snapshot = full_name(mib),
                   .policy = policy,
                   .mib = mib,
                   .percent = percent,
                   .threads = policy == "eager" ? 2U : 1U,
                   .headline = "first_response_ns",
                   .cache = cache});
}

void add_lazy(CellBuilder& builder) {
  const Sizes& sizes = builder.workload().sizes;
  for (const std::uint64_t mib : {sizes.small_mib, sizes.middle_mib, sizes.large_mib}) {
    PlannedCell& planned = builder.restore({.id = lazy_id(mib),
                                            .snapshot = full_name(mib),
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
void add_large_touched_sets(CellBuilder& builder) {
  for (const char* policy : {"lazy", "eager"}) {
    for (const std::uint32_t percent : {50U, 100U}) {
      add_touching(builder, policy, builder.workload().sizes.small_mib, percent, CacheState::kWarm);
    }
  }
}

void add_eager(CellBuilder& builder) {
  const Sizes& sizes = builder.workload().sizes;
  const std::uint64_t mib = sizes.small_mib;
  for (const auto& [threads, verify] :
       {std::pair{1U, true}, std::pair{2U, true}, std::pair{1U, false}, std::pair{2U, false}}) {
    PlannedCell& raw = builder.restore({.id = eager_id(sizes, threads, verify),
                                        .snapshot = full_name(mib),
                                        .policy = "eager",
                                        .mib = mib,
                                        .threads = threads,
                                        .verify = verify,
                                        .headline = "first_instruction_ns"});
    with_floor(raw, pread_floor_id(sizes), "pread_ns");
    PlannedCell& lz4 = builder.restore({.id = eager_lz4_id(sizes, threads, verify),
                                        .snapshot = "lz4-" + size_name(mib),
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

void add_chains(CellBuilder& builder) {
  const std::uint64_t mib = builder.workload().sizes.small_mib;
  for (const char* policy : {"lazy", "eager"}) {
    for (const CacheState cache : {CacheState::kWarm, CacheState::kCold}) {
      builder.restore({.id = fmt::format("restore/{}-diff/{}/touch10/{}", policy, size_name(mib),
                                         name_of(cache)),
                       .snapshot = "diff-" + size_name(mib),
                       .parents = {full_name(mib)},
                       .policy = policy,
                       .mib = mib,
                       .percent = 10,
                       .threads = 2,
                       .headline = "first_response_ns",
                       .cache = cache});
    }
  }
}

PlannedCell& add_save_full(CellBuilder& builder, std::string id, const std::string& snapshot,
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

void add_save_diff(CellBuilder& builder, std::uint32_t percent, Spread spread) {
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

void add_saves(CellBuilder& builder) {
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

void add_snapshots(CellBuilder& builder) {
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
  builder.diff_snapshot("diff-" + size_name(small), full_name(small),
                        builder.dirty(small, 10, Spread::kScattered));
}

}  // namespace

Experiment restore_latency_experiment(const Workload& workload) {
  CellBuilder builder("restore_latency", workload);
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
  CellBuilder builder("floor", workload);
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

const Definition& restore_latency_definition() {
  static constexpr Definition kDefinition = {
      .name = "restore_latency",
      .question =
          "How long from asking for a restore to the guest's first instruction and first response, "
          "and what does a save cost, in multiples of the physical floor?",
      .takes = "about 40 min, 6 GiB of disk; --quick 2 min, 600 MiB",
      .design = [](const Design& design) -> Result<Experiment> {
        return restore_latency_experiment(design.workload);
      },
      .check = evaluate_checks};
  return kDefinition;
}

const Definition& floor_definition() {
  static constexpr Definition kDefinition = {
      .name = "floor",
      .question = "What do the parts of a restore cost at the least on this host?",
      .takes = "about 5 min; --quick 20 s",
      .design = [](const Design& design) -> Result<Experiment> {
        return floor_experiment(design.workload);
      }};
  return kDefinition;
}

}  // namespace stasis::experiments
