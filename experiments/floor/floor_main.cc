// stasis-floor: the physical floors as Google Benchmark micro-benchmarks.
//
// Times are manual: mapping fresh memory is part of some floors and preparation of others, and only
// the function under measurement knows which.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include <benchmark/benchmark.h>

#include "experiments/floor/bare_kvm.h"
#include "experiments/floor/floors.h"
#include "experiments/harness/host_facts.h"
#include "experiments/harness/text_file.h"

namespace {

using stasis::Result;
using namespace stasis::experiments;  // NOLINT(google-build-using-namespace): this is their
                                      // program.

constexpr std::size_t kMiB = std::size_t{1} << 20U;
constexpr std::size_t kImageBytes = 256 * kMiB;
constexpr std::size_t kChunkBytes = std::size_t{64} << 10U;

// What the benchmarks share: sample data in memory and in a file that is in the page cache.
struct Samples {
  FreshMemory memory;
  std::string directory;
  [[nodiscard]] std::string file() const { return directory + "/sample"; }
};

Result<std::string> make_directory() {
  std::error_code failed;
  std::string pattern =
      (std::filesystem::temp_directory_path(failed) / "stasis-floor-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) {
    return stasis::errno_error(errno, "make a directory like " + pattern);
  }
  return pattern;
}

Result<Samples> make_samples() {
  STASIS_ASSIGN(FreshMemory memory, FreshMemory::map(Backing::kHugePages, kImageBytes));
  fill_with_sample(memory.bytes(), 1);
  STASIS_ASSIGN(const std::string directory, make_directory());
  Samples samples{.memory = std::move(memory), .directory = directory};
  const std::span<const std::byte> bytes = samples.memory.bytes();
  const auto* text = static_cast<const char*>(static_cast<const void*>(bytes.data()));
  STASIS_TRY(write_text_file(samples.file(), {text, bytes.size()}));
  return samples;
}

// Runs `measure`, which returns nanoseconds, as often as the library asks.
void run(benchmark::State& state, std::size_t bytes,
         const std::function<Result<std::int64_t>()>& measure) {
  while (state.KeepRunning()) {
    const Result<std::int64_t> ns = measure();
    if (!ns) {
      state.SkipWithError(ns.error().message.c_str());
      return;
    }
    state.SetIterationTime(static_cast<double>(*ns) * 1e-9);
  }
  if (bytes > 0) {
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes));
  }
}

using Benchmark = std::function<void(benchmark::State&)>;

void register_benchmark(const std::string& name, const Benchmark& run, benchmark::TimeUnit unit) {
  // clang's analyzer does not know that the library keeps what it registers, and blames the
  // library's header, where it cannot be told so.
#ifndef __clang_analyzer__
  benchmark::RegisterBenchmark(name.c_str(), run)->UseManualTime()->Unit(unit);
#else
  static_cast<void>(name), static_cast<void>(run), static_cast<void>(unit);
#endif
}

void add(const std::string& name, std::size_t bytes, std::function<Result<std::int64_t>()> measure,
         benchmark::TimeUnit unit = benchmark::kMillisecond) {
  register_benchmark(
      name,
      [bytes, measure = std::move(measure)](benchmark::State& state) {
        run(state, bytes, measure);
      },
      unit);
}

void add_bare_kvm() {
  for (const std::size_t mib : {256U, 1024U, 4096U}) {
    register_benchmark(
        fmt::format("bare_kvm/first_instruction/{}M", mib),
        [mib](benchmark::State& state) {
          BareKvmTimes last;
          while (state.KeepRunning()) {
            const Result<BareKvmTimes> times = measure_bare_kvm(mib * kMiB);
            if (!times) {
              state.SkipWithError(times.error().message.c_str());
              return;
            }
            last = *times;
            state.SetIterationTime(static_cast<double>(times->first_instruction) * 1e-9);
          }
          // Parts of the last iteration, to see where the time goes.
          const auto us = [](std::int64_t ns) { return static_cast<double>(ns) * 1e-3; };
          state.counters["create_vm_us"] = us(last.create_vm);
          state.counters["slot_us"] = us(last.slot);
          state.counters["create_vcpu_us"] = us(last.create_vcpu);
          state.counters["enter_us"] = us(last.enter);
          state.counters["clock_error_ns"] = static_cast<double>(last.error);
        },
        benchmark::kMicrosecond);
  }
}

void add_memory(const Samples& samples) {
  for (const Backing backing :
       {Backing::kSmallPages, Backing::kHugePages, Backing::kMemfd, Backing::kPrivateFile}) {
    add(fmt::format("first_touch/{}", name_of(backing)), kImageBytes,
        [backing, file = samples.file()] { return first_touch_ns(backing, kImageBytes, file); });
  }
  add("memcpy/populated_huge", kImageBytes, [] { return copy_ns(kImageBytes); });
  add("memcpy/to_fresh_huge", kImageBytes,
      [&samples] { return copy_to_fresh_ns(samples.memory.bytes()); });
  for (const std::size_t block : {64U << 10U, 256U << 10U, 1U << 20U, 4U << 20U}) {
    add(fmt::format("pread/page_cache_to_fresh_huge/block_{}K", block >> 10U), kImageBytes,
        [block, file = samples.file()] { return pread_to_fresh_ns(file, block); });
  }
  add("write/page_cache", kImageBytes, [&samples]() -> Result<std::int64_t> {
    const FileSegment all{.offset = 0, .bytes = kImageBytes};
    STASIS_ASSIGN(const WriteTimes times,
                  write_file_ns(samples.directory + "/written", samples.memory.bytes(), {&all, 1}));
    return times.write;
  });
  add("write/fdatasync", kImageBytes, [&samples]() -> Result<std::int64_t> {
    const FileSegment all{.offset = 0, .bytes = kImageBytes};
    STASIS_ASSIGN(const WriteTimes times,
                  write_file_ns(samples.directory + "/written", samples.memory.bytes(), {&all, 1}));
    return times.write + times.sync;
  });
}

void add_codecs(const Samples& samples) {
  const std::span<const std::byte> bytes = samples.memory.bytes();
  add("zero_scan", kImageBytes, [bytes]() -> Result<std::int64_t> {
    std::size_t nonzero = 0;
    return zero_scan_ns(bytes, nonzero);
  });
  add("xxh3_64/64K", kImageBytes,
      [bytes]() -> Result<std::int64_t> { return hash_ns(bytes, kChunkBytes); });
  add("zero_scan+xxh3_64/64K", kImageBytes,
      [bytes]() -> Result<std::int64_t> { return scan_and_hash_ns(bytes, kChunkBytes); });
  // One image for all iterations; made when the first benchmark that needs it runs.
  const auto image = std::make_shared<Lz4Image>();
  const auto prepared = [image, bytes]() -> const Lz4Image& {
    if (image->chunks.empty()) {
      *image = compress_chunks(bytes, kChunkBytes);
    }
    return *image;
  };
  add("lz4/compress/64K", kImageBytes, [bytes]() -> Result<std::int64_t> {
    return compress_chunks(bytes, kChunkBytes).compress_ns;
  });
  add("lz4/decompress_to_fresh_huge/64K", kImageBytes,
      [prepared, bytes] { return decompress_to_fresh_ns(prepared(), bytes); });
}

// The host and the build go into every output format of the library.
void add_context() {
  for (const auto& [name, value] :
       collect_host_facts(std::filesystem::temp_directory_path().string())) {
    benchmark::AddCustomContext("stasis_" + name, value);
  }
  if (const std::string reason = build_not_quotable_because(); !reason.empty()) {
    benchmark::AddCustomContext("stasis_not_quotable", reason);
    fmt::print(stderr, "stasis-floor: NOT QUOTABLE: {}\n", reason);
  }
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
    return 2;
  }
  Result<Samples> samples = make_samples();
  if (!samples) {
    fmt::print(stderr, "stasis-floor: error: {}\n", samples.error().to_string());
    return 1;
  }
  add_context();
  add_bare_kvm();
  add_memory(*samples);
  add_codecs(*samples);
  benchmark::RunSpecifiedBenchmarks();
  std::error_code ignored;
  std::filesystem::remove_all(samples->directory, ignored);
  return 0;
}
