// Access traces: hints beside a snapshot that may be missing, old, or anything.
#include "snapshot/access_trace.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/snapshot/memory_file_system.h"
#include "tests/snapshot/samples.h"
#include "tests/support/must.h"

namespace stasis::snapshot {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::uint64_t kPage = 4096;

AccessTrace sample() {
  AccessTrace trace;
  trace.snapshot = *parse_snapshot_id("00112233445566778899aabbccddeeff");
  trace.root = {123, 456};
  trace.created_ns = 1'700'000'000'000'000'000;
  trace.accesses = {{Gpa{9 * kPage}, 10, PopulateFor::kWriting, TracePhase::kRestore},
                    {Gpa{0}, 10, PopulateFor::kReading, TracePhase::kStart},
                    {Gpa{5 * kPage}, 700, PopulateFor::kWriting, TracePhase::kRequest}};
  return trace;
}

TEST(TraceCodec, WhatIsWrittenIsRead) {
  EXPECT_EQ(must(decode_trace(must(encode_trace(sample())))), sample());
  AccessTrace empty = sample();
  empty.accesses.clear();
  EXPECT_EQ(must(decode_trace(must(encode_trace(empty)))), empty);
}

TEST(TraceCodec, EveryTruncationIsRefused) {
  const std::vector<std::byte> bytes = must(encode_trace(sample()));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto trace = decode_trace(std::span(bytes).first(size));
    ASSERT_FALSE(trace) << size;
    EXPECT_EQ(trace.error().code, Errc::kCorruption) << size;
  }
}

TEST(TraceCodec, NoFlippedBitIsReadAsAnotherTrace) {
  const std::vector<std::byte> bytes = must(encode_trace(sample()));
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::vector<std::byte> damaged = bytes;
    damaged[bit / 8] ^= std::byte{1} << (bit % 8);
    const auto trace = decode_trace(damaged);
    EXPECT_TRUE(!trace || *trace == sample()) << bit;  // Some bits of the framing mean nothing.
  }
}

TEST(TraceCodec, AccessesThatBreakARuleAreNeverWritten) {
  const auto refused = [](auto change) {
    AccessTrace trace = sample();
    change(trace);
    const auto bytes = encode_trace(trace);
    return !bytes && bytes.error().code == Errc::kInvalidArgument;
  };
  EXPECT_TRUE(refused([](AccessTrace& trace) { trace.accesses[2].at_ns = 9; }));
  EXPECT_TRUE(refused([](AccessTrace& trace) { trace.accesses[0].at_ns = -1; }));
  EXPECT_TRUE(refused([](AccessTrace& trace) { trace.accesses[1].page = Gpa{9 * kPage}; }));
  EXPECT_TRUE(refused([](AccessTrace& trace) { trace.accesses[1].page = Gpa{8}; }));
  EXPECT_TRUE(refused([](AccessTrace& trace) { trace.accesses[1].page = Gpa{1ULL << 52U}; }));
  EXPECT_TRUE(refused([](AccessTrace& trace) { trace.unit_bytes = 5000; }));
  EXPECT_TRUE(refused([](AccessTrace& trace) { trace.unit_bytes = 1 << 20; }));
}

TEST(TraceComparisonTest, CountsPagesAndTheCommonBeginning) {
  AccessTrace other = sample();
  EXPECT_EQ(must(compare_traces(sample(), other)),
            (TraceComparison{.common = 3, .common_prefix = 3}));
  other.accesses[1].page = Gpa{77 * kPage};
  other.accesses[2].access = PopulateFor::kReading;
  EXPECT_EQ(must(compare_traces(sample(), other)), (TraceComparison{2, 1, 1, 1, 1}));
  other.unit_bytes = 16384;
  EXPECT_EQ(compare_traces(sample(), other).error().code, Errc::kMismatch);
}

TEST(AccessRecorderTest, KeepsTheFirstTouchOfEachPageInOrderWithItsPhase) {
  AccessRecorder recorder;
  recorder.note(Gpa{kPage}, PopulateFor::kReading);
  recorder.begin_phase(TracePhase::kRequest);
  recorder.note(Gpa{0}, PopulateFor::kWriting);
  recorder.begin_phase(TracePhase::kStart);  // Phases do not go back.
  recorder.note(Gpa{kPage}, PopulateFor::kWriting);
  recorder.note(Gpa{2 * kPage}, PopulateFor::kReading);
  AccessTrace trace = sample();
  trace.accesses = must(recorder.accesses());
  EXPECT_THAT(pieces_of(trace),
              ElementsAre(PopulatePiece{{Gpa{kPage}, kPage}, PopulateFor::kReading},
                          PopulatePiece{{Gpa{0}, kPage}, PopulateFor::kWriting},
                          PopulatePiece{{Gpa{2 * kPage}, kPage}, PopulateFor::kReading}));
  EXPECT_EQ(trace.accesses[0].phase, TracePhase::kRestore);
  EXPECT_EQ(trace.accesses[1].phase, TracePhase::kRequest);
  EXPECT_EQ(trace.accesses[2].phase, TracePhase::kRequest);
  EXPECT_TRUE(encode_trace(trace));
}

class TraceFile : public ::testing::Test {
 protected:
  void SetUp() override {
    auto memory = make_memory({{Gpa{0}, kMiB}});
    must(save(files_, "/warm", *memory));
    reader_ = must(SnapshotReader::open(files_, "/warm"));
  }
  AccessTrace own() const {
    AccessTrace trace = sample();
    trace.snapshot = reader_->manifest().id;
    trace.root = reader_->root();
    return trace;
  }

  MemoryFileSystem files_;
  std::unique_ptr<SnapshotReader> reader_;
};

TEST_F(TraceFile, NoneIsNoErrorForARestoreAndOneForWhoAsksForIt) {
  EXPECT_EQ(must(read_trace(files_, *reader_)), std::nullopt);
  const auto asked = read_trace_file(files_, "/warm");
  ASSERT_FALSE(asked);
  EXPECT_EQ(asked.error().code, Errc::kNotFound);
  EXPECT_THAT(asked.error().message, HasSubstr("/warm/trace.capnp"));
}

TEST_F(TraceFile, TheLastOneWrittenIsTheOneThatIsRead) {
  must(write_trace(files_, *reader_, own()));
  AccessTrace second = own();
  second.accesses.pop_back();
  must(write_trace(files_, *reader_, second));
  EXPECT_EQ(must(read_trace(files_, *reader_)), second);
  EXPECT_EQ(must(read_trace_file(files_, "/warm")), second);
  must(write_trace_file(files_, "/warm", "elsewhere", own()));
  EXPECT_EQ(must(read_trace_file(files_, "/warm/elsewhere")), own());
}

TEST_F(TraceFile, OneOfAnotherSnapshotOrOfOtherMemoryIsAMismatch) {
  AccessTrace other = own();
  other.root.low ^= 1;
  EXPECT_EQ(write_trace(files_, *reader_, other).error().code, Errc::kMismatch);
  AccessTrace outside = own();
  outside.accesses[2].page = Gpa{kMiB};
  for (const AccessTrace& wrong : {other, outside}) {
    must(write_trace_file(files_, "/warm", kTraceFile, wrong));
    const auto read = read_trace(files_, *reader_);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, Errc::kMismatch);
    EXPECT_THAT(read.error().message, HasSubstr("/warm/trace.capnp"));
  }
}

TEST_F(TraceFile, DamageIsNamedWithItsFile) {
  must(write_trace(files_, *reader_, own()));
  files_.overwrite("/warm/trace.capnp", std::vector<std::byte>(64, std::byte{0xff}));
  const auto read = read_trace(files_, *reader_);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Errc::kCorruption);
  EXPECT_THAT(read.error().message, HasSubstr("/warm/trace.capnp"));
}

}  // namespace
}  // namespace stasis::snapshot
