// The guest programs on the host's hypervisor, against models of what they should do.
#include "tests/guests/guest_programs.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "guests/programs/kvstore_data.h"
#include "guests/programs/pagetoucher_content.h"
#include "tests/support/must.h"

namespace stasis::guests {
namespace {

using test::GuestOptions;
using test::RunningGuest;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Kind = MachineEvent::Kind;

std::string hex16(std::uint64_t value) {
  char text[17];
  guest::Writer(text, 16).put(guest::Hex{value});
  return {text, 16};
}

// ---- hello, and what every guest does ----

TEST_F(GuestProgramsTest, HelloPrintsALineAndEchoesRequests) {
  RunningGuest guest = start_ready({.guest = "hello", .arguments = "one two", .memory_mib = 64});
  EXPECT_EQ(guest.console(),
            "hello from a bare guest: 1 vCPU(s), 64 MiB of RAM, arguments \"one two\"\n");
  EXPECT_EQ(must(guest.ask("echo")), "echo");
  EXPECT_EQ(must(guest.ask("")), "");
  std::string large(abi::kRequestBytesMax, '\0');
  std::generate(large.begin(), large.end(), std::mt19937(1));
  large[0] = 'x';  // Not a built-in request.
  EXPECT_EQ(must(guest.ask(large)), large);
}

TEST_F(GuestProgramsTest, ThirtyTwoVcpusStart) {
  RunningGuest guest = start_ready({.guest = "hello", .vcpus = 32});
  EXPECT_THAT(guest.console(), HasSubstr("32 vCPU(s)"));
  EXPECT_EQ(must(guest.ask("echo")), "echo");
}

TEST_F(GuestProgramsTest, RequestsPostedTogetherAreAnsweredInOrder) {
  RunningGuest guest = start_ready({.guest = "hello"});
  for (int i = 0; i < 20; ++i) {
    must(guest.doorbell().post_request(guest.machine().device_host(), std::to_string(i)));
  }
  for (int i = 0; i < 20; ++i) {
    must(guest.run_until(Kind::kResponse));
    const std::vector<std::byte> response = must(guest.doorbell().take_response());
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(response.data()), response.size()),
              std::to_string(i));
  }
}

TEST_F(GuestProgramsTest, FirstInstructionIsTheCounterAfterTheDoorbell) {
  RunningGuest guest = start_ready({.guest = "hello"});
  const std::uint64_t before = __builtin_ia32_rdtsc();
  must(guest.ask("x"));
  // The guest goes on when it has answered, and notes the counter again.
  const std::uint64_t resumed = must(guest.doorbell().resumed_counter(guest.machine().memory()));
  const std::uint64_t after = __builtin_ia32_rdtsc();
  const CounterRelation relation =
      must(guest.machine().counter_relation(0, std::chrono::seconds(10)));
  const auto host = host_counter_at(resumed, relation);
  ASSERT_TRUE(host);
  EXPECT_GT(host->value + host->error_ticks, before);
  EXPECT_LT(host->value - host->error_ticks, after);
  EXPECT_EQ(must(guest.ask("y")), "y");  // It goes on.
}

TEST_F(GuestProgramsTest, EveryGuestProvesItselfBeforeAndAfterACopy) {
  const GuestOptions guests[] = {{.guest = "hello"},
                                 {.guest = "pagetoucher", .arguments = "4"},
                                 {.guest = "kvstore", .arguments = "size=1"}};
  for (const GuestOptions& options : guests) {
    SCOPED_TRACE(options.guest);
    RunningGuest guest = start_ready(options);
    EXPECT_EQ(must(guest.ask("@ping")), "pong");
    const std::string id = must(guest.ask("@id"));
    const std::string proof = must(guest.ask("@prove"));
    EXPECT_EQ(field(proof, "nonce").size(), 32);
    EXPECT_EQ(field(proof, "counter"), "3");
    EXPECT_EQ(field(proof, "restores"), "0");
    EXPECT_THAT(must(guest.ask("@nonsense")), StartsWith("error"));

    RunningGuest copy = must(guest.clone());
    const std::string copy_proof = must(copy.ask("@prove"));
    EXPECT_EQ(field(copy_proof, "nonce"), field(proof, "nonce"));
    EXPECT_EQ(field(copy_proof, "hash"), field(proof, "hash"));
    EXPECT_EQ(field(copy_proof, "counter"), "5");
    EXPECT_EQ(field(copy_proof, "restores"), "1");
    EXPECT_NE(field(must(copy.ask("@id")), "generation"), field(id, "generation"));

    RunningGuest other = start_ready(options);
    EXPECT_NE(field(must(other.ask("@prove")), "nonce"), field(proof, "nonce"));
    EXPECT_NE(field(must(other.ask("@prove")), "hash"), field(proof, "hash"));
  }
}

TEST_F(GuestProgramsTest, ProofNoticesOneChangedByteOfTheHeap) {
  RunningGuest guest = start_ready({.guest = "kvstore", .arguments = "size=1"});
  const std::string hash = field(must(guest.ask("@prove")), "hash");
  must(guest.machine().pause(test::kPatience));
  const Gpa somewhere{5 * abi::kMiB - 1};
  const auto byte = must(guest.machine().memory().read_object<std::uint8_t>(somewhere));
  must(guest.machine().memory().write_object(somewhere, static_cast<std::uint8_t>(byte ^ 1)));
  EXPECT_NE(field(must(guest.ask("@prove")), "hash"), hash);
  must(guest.machine().pause(test::kPatience));
  must(guest.machine().memory().write_object(somewhere, byte));
  EXPECT_EQ(field(must(guest.ask("@prove")), "hash"), hash);
}

// ---- The examples of docs/guest-abi.md ----

TEST_F(GuestProgramsTest, ExampleWithTheRuntimeDoesWhatTheDocumentSays) {
  RunningGuest guest =
      start_ready({.guest = TEST_GUESTS "test_counter", .arguments = "some arguments"});
  EXPECT_EQ(guest.console(), "warming up with some arguments\n");
  EXPECT_EQ(must(guest.ask("one")), "request 1; before it: ''");
  EXPECT_EQ(must(guest.ask("two")), "request 2; before it: 'one'");
  RunningGuest copy = must(guest.clone());
  EXPECT_EQ(must(copy.ask("three")), "request 3; before it: 'two'");
}

TEST_F(GuestProgramsTest, ExampleWithoutTheRuntimeSaysHelloAndExits) {
  RunningGuest guest = start({.guest = TEST_GUESTS "test_bare_hello", .vcpus = 2});
  EXPECT_EQ(must(guest.run_until(Kind::kExit)).value, 0);
  EXPECT_EQ(guest.console(), "hello\n");
}

// ---- pagetoucher ----

// The host's model: the first word of every page.
class PageModel {
 public:
  void fill(std::uint64_t pages, std::uint64_t seed, std::uint64_t zero) {
    for (std::uint64_t page = 0; page < pages; ++page) {
      std::array<std::uint64_t, guest::pagetoucher::kPageWords> words{};
      if (!guest::pagetoucher::is_chosen(page, seed, zero)) {
        guest::pagetoucher::fill_page(words.data(), page, seed, guest::pagetoucher::Kind::kMixed);
      }
      words_[page] = words[0];
    }
  }
  void access(std::uint64_t page, bool is_write) {
    std::uint64_t& word = words_[page];
    hash_ = guest::mix(hash_ ^ guest::mix(page)) + word;
    if (is_write) {
      word = guest::mix(word + page + 1);
    }
    ++accesses_;
  }
  // What the guest answers for the accesses since the last call, without cycles.
  std::string answer() {
    const std::string text = "ok accesses=" + std::to_string(accesses_) + " hash=" + hex16(hash_);
    hash_ = accesses_ = 0;
    return text;
  }

 private:
  std::map<std::uint64_t, std::uint64_t> words_;
  std::uint64_t hash_ = 0, accesses_ = 0;
};

std::string without_cycles(const std::string& response) {
  return response.substr(0, response.find(" cycles="));
}

TEST_F(GuestProgramsTest, PagetoucherReadsAndWritesWhatItIsTold) {
  RunningGuest guest =
      start_ready({.guest = "pagetoucher", .arguments = "4 seed=3 zero=50", .memory_mib = 32});
  PageModel model;
  model.fill(1024, 3, 50);

  for (std::uint64_t page = 0; page < 1024; ++page) {
    model.access(page, false);
  }
  EXPECT_EQ(without_cycles(must(guest.ask("touch count=1024"))), model.answer());

  for (std::uint64_t i = 0; i < 300; ++i) {
    model.access(10 + 3 * i, true);
  }
  EXPECT_EQ(without_cycles(must(guest.ask("touch begin=10 count=300 stride=3 write=1"))),
            model.answer());

  const guest::pagetoucher::Permutation order(700, 9);
  for (int round = 0; round < 3; ++round) {
    for (std::uint64_t i = 0; i < 700; ++i) {
      const std::uint64_t page = order.slot(i);
      model.access(page, guest::pagetoucher::is_chosen(page, 9, 30));
    }
  }
  EXPECT_EQ(
      without_cycles(must(guest.ask("touch count=700 order=random seed=9 write=30 repeat=3"))),
      model.answer());
}

TEST_F(GuestProgramsTest, PagetoucherExecutesListsInTextAndBinary) {
  RunningGuest guest = start_ready({.guest = "pagetoucher", .arguments = "4", .memory_mib = 32});
  PageModel model;
  model.fill(1024, 1, 0);
  model.access(5, false);
  model.access(7, true);
  model.access(7, false);
  model.access(2000, true);  // Not filled: zero.
  EXPECT_EQ(without_cycles(must(guest.ask("pages 5r 7w 7 2000w"))), model.answer());

  std::vector<std::uint32_t> list = {guest::pagetoucher::kBinaryListMagic};
  std::mt19937 random(2);
  for (int i = 0; i < 16'000; ++i) {
    const auto page = static_cast<std::uint32_t>(random() % 3000);
    const bool is_write = random() % 2 == 0;
    list.push_back(page | (is_write ? guest::pagetoucher::kWriteBit : 0));
    model.access(page, is_write);
  }
  const std::string request(reinterpret_cast<const char*>(list.data()), 4 * list.size());
  EXPECT_EQ(without_cycles(must(guest.ask(request))), model.answer());
}

TEST_F(GuestProgramsTest, PagetoucherFillGrowAndHashAgreeWithTheContents) {
  RunningGuest guest = start_ready({.guest = "pagetoucher", .memory_mib = 32});
  EXPECT_EQ(field(must(guest.ask("stats")), "pages"), "0");
  must(guest.ask("fill 2 seed=5 kind=text"));
  std::uint64_t hash = 0;
  for (std::uint64_t page = 0; page < 512; ++page) {
    std::uint64_t words[guest::pagetoucher::kPageWords];
    guest::pagetoucher::fill_page(words, page, 5, guest::pagetoucher::Kind::kText);
    hash = guest::Xxh64::hash(words, sizeof(words), hash);
  }
  EXPECT_EQ(field(must(guest.ask("hash")), "hash"), hex16(hash));
  EXPECT_EQ(field(must(guest.ask("grow 3")), "pages"), std::to_string(5 * 256));
  EXPECT_EQ(field(must(guest.ask("hash count=512")), "hash"), hex16(hash));
  // Filling anew with zero=100 leaves nothing.
  must(guest.ask("fill 2 zero=100"));
  PageModel zero;
  zero.access(17, false);
  EXPECT_EQ(without_cycles(must(guest.ask("pages 17"))), zero.answer());
}

TEST_F(GuestProgramsTest, PagetoucherPublishesOneLatencyForEachProbedAccess) {
  RunningGuest guest = start_ready({.guest = "pagetoucher", .memory_mib = 32});
  must(guest.ask("touch count=100"));
  EXPECT_FALSE(guest.doorbell().fault_histogram().has_value());
  must(guest.ask("touch count=123 repeat=2 probe=1"));
  const abi::FaultHistogram histogram = guest.doorbell().fault_histogram().value();
  EXPECT_EQ(histogram.count, 246);
  EXPECT_GE(histogram.total_cycles, histogram.max_cycles);
  EXPECT_GT(histogram.max_cycles, 0);
}

TEST_F(GuestProgramsTest, PagetoucherComputesAtLeastAsLongAsTold) {
  RunningGuest guest = start_ready({.guest = "pagetoucher", .memory_mib = 32});
  must(guest.ask("touch compute=1"));  // Measures the counter's rate.
  const auto begin = std::chrono::steady_clock::now();
  must(guest.ask("touch count=100 compute=200000"));
  const auto elapsed = std::chrono::steady_clock::now() - begin;
  EXPECT_GE(elapsed, std::chrono::milliseconds(18));
}

TEST_F(GuestProgramsTest, PagetoucherRingsCheckpointsWhenAsked) {
  RunningGuest guest = start_ready({.guest = "pagetoucher", .memory_mib = 32});
  must(guest.doorbell().post_request(guest.machine().device_host(), "checkpoint 9"));
  EXPECT_EQ(must(guest.run_until(Kind::kCheckpoint)).value, 9);
  must(guest.run_until(Kind::kResponse));
}

TEST_F(GuestProgramsTest, PagetoucherRefusesWhatItCannotDo) {
  RunningGuest guest = start_ready({.guest = "pagetoucher", .memory_mib = 32});
  for (const char* const request : {"dance",
                                    "touch count=x",
                                    "touch count=999999999",
                                    "touch begin=18446744073709551615",
                                    "touch stride=18446744073709551615 count=2",
                                    "touch order=backwards",
                                    "touch write=101",
                                    "touch count=7000 stride=7000",
                                    "pages 5x",
                                    "pages 99999999",
                                    "pages r",
                                    "fill",
                                    "fill 100000",
                                    "fill 1 zero=101",
                                    "fill 1 kind=other",
                                    "fill 1 begin=18446744073709551615",
                                    "grow 1000000",
                                    "hash begin=5",
                                    "hash count=1",
                                    "checkpoint",
                                    "checkpoint 4294967296",
                                    "BLST12"}) {
    EXPECT_THAT(must(guest.ask(request)), StartsWith("error")) << request;
  }
  EXPECT_EQ(field(must(guest.ask("stats")), "pages"), "0") << "nothing was touched";
}

// ---- kvstore ----

std::string generated_key(std::uint64_t index) {
  char buffer[guest::kvstore::kKeyBytesMax];
  guest::Writer out(buffer, sizeof(buffer));
  guest::kvstore::put_key(out, index, 1);
  return {buffer, out.size()};
}
std::string generated_value(std::uint64_t index) {
  std::vector<char> buffer(guest::kvstore::kValueBytesMax);
  guest::Writer out(buffer.data(), buffer.size());
  guest::kvstore::put_value(out, index, 1);
  return {buffer.data(), out.size()};
}

using Pairs = std::map<std::string, std::string>;

Pairs generated_pairs(std::uint64_t mib) {
  Pairs pairs;
  std::uint64_t bytes = 0;
  for (std::uint64_t i = 0; bytes < mib * abi::kMiB; ++i) {
    const auto [pair, is_new] = pairs.emplace(generated_key(i), generated_value(i));
    bytes += pair->first.size() + pair->second.size();
  }
  return pairs;
}

std::string expected_check(const Pairs& pairs) {
  std::uint64_t digest = 0;
  for (const auto& [key, value] : pairs) {
    digest += guest::kvstore::pair_digest({key.data(), key.size()}, {value.data(), value.size()});
  }
  return "ok pairs=" + std::to_string(pairs.size()) + " digest=" + hex16(digest);
}

std::set<std::string> scan_all(RunningGuest& guest, const std::string& rest) {
  std::set<std::string> keys;
  for (std::string cursor = "0"; cursor != "end";) {
    std::istringstream lines(must(guest.ask("scan " + cursor + rest)));
    for (std::string line; std::getline(lines, line);) {
      if (line.rfind("next=", 0) == 0) {
        cursor = line.substr(5);
      } else {
        EXPECT_TRUE(keys.insert(line).second) << line << " came twice";
      }
    }
  }
  return keys;
}

TEST_F(GuestProgramsTest, KvstoreLoadsTheGeneratedDataSet) {
  RunningGuest guest = start_ready({.guest = "kvstore", .arguments = "size=8", .memory_mib = 64});
  const Pairs pairs = generated_pairs(8);
  EXPECT_EQ(must(guest.ask("check")), expected_check(pairs));
  EXPECT_EQ(must(guest.ask("key 1234")), generated_key(1234));
  EXPECT_EQ(must(guest.ask("get " + generated_key(1234))), "value " + generated_value(1234));
  std::set<std::string> keys, amber;
  for (const auto& [key, value] : pairs) {
    keys.insert(key);
    if (key.rfind("user:amber", 0) == 0) {
      amber.insert(key);
    }
  }
  EXPECT_EQ(scan_all(guest, " 100000"), keys);
  EXPECT_EQ(scan_all(guest, " 7 user:amber"), amber);
}

TEST_F(GuestProgramsTest, KvstoreAgreesWithAMapOverRandomOperations) {
  RunningGuest guest = start_ready({.guest = "kvstore", .arguments = "size=1", .memory_mib = 64});
  Pairs pairs = generated_pairs(1);
  std::mt19937 random(3);
  for (int i = 0; i < 4000; ++i) {
    // Few keys, so that every operation meets every state of a key; values of all sizes.
    const std::string key =
        random() % 4 == 0 ? generated_key(random() % 100) : "key" + std::to_string(random() % 300);
    const auto found = pairs.find(key);
    const auto operation = random() % 10;
    if (operation < 5) {
      const std::string value(random() % (operation == 0 ? 5000 : 200),
                              static_cast<char>('a' + random() % 26));
      ASSERT_EQ(must(guest.ask("put " + key + " " + value)),
                found == pairs.end() ? "ok new" : "ok replaced");
      pairs[key] = value;
    } else if (operation < 8) {
      ASSERT_EQ(must(guest.ask("get " + key)),
                found == pairs.end() ? "missing" : "value " + found->second);
    } else {
      ASSERT_EQ(must(guest.ask("del " + key)), found == pairs.end() ? "missing" : "ok deleted");
      pairs.erase(key);
    }
  }
  EXPECT_EQ(must(guest.ask("check")), expected_check(pairs));
  EXPECT_EQ(scan_all(guest, " 50").size(), pairs.size());
}

TEST_F(GuestProgramsTest, KvstoreGrowsItsTable) {
  RunningGuest guest = start_ready({.guest = "kvstore", .arguments = "size=0", .memory_mib = 64});
  Pairs pairs;
  const std::uint64_t slots = std::stoull(field(must(guest.ask("stats")), "slots"));
  for (std::uint64_t i = 0; i < slots * 2; ++i) {
    const std::string key = "k" + std::to_string(i), value = std::to_string(i * i);
    ASSERT_EQ(must(guest.ask("put " + key + " " + value)), "ok new");
    pairs[key] = value;
  }
  EXPECT_GT(std::stoull(field(must(guest.ask("stats")), "slots")), slots * 2);
  EXPECT_EQ(must(guest.ask("check")), expected_check(pairs));
}

TEST_F(GuestProgramsTest, KvstoreMixIsDeterministicAndLeavesTheDataAlone) {
  RunningGuest guest = start_ready({.guest = "kvstore", .arguments = "size=4", .memory_mib = 64});
  const std::string before = must(guest.ask("check"));
  const std::string first = without_cycles(must(guest.ask("mix n=2000 seed=5 write=20")));
  EXPECT_EQ(without_cycles(must(guest.ask("mix n=2000 seed=5 write=20"))), first);
  EXPECT_NE(without_cycles(must(guest.ask("mix n=2000 seed=6 write=20"))), first);
  EXPECT_EQ(must(guest.ask("check")), before);
}

TEST_F(GuestProgramsTest, KvstoreRefusesWhatItCannotDo) {
  RunningGuest guest = start_ready({.guest = "kvstore", .arguments = "size=1", .memory_mib = 64});
  const std::string before = must(guest.ask("check"));
  for (const std::string& request :
       {std::string("sing"), std::string("put"), std::string("scan"), std::string("scan x 1"),
        std::string("scan 0 0"), std::string("key x"), std::string("mix n=x"),
        "put k " + std::string(guest::kvstore::kValueBytesMax + 1, 'v'),
        "put " + std::string(guest::kvstore::kKeyBytesMax + 1, 'k') + " v"}) {
    EXPECT_THAT(must(guest.ask(request)), StartsWith("error")) << request.substr(0, 20);
  }
  EXPECT_EQ(must(guest.ask("scan 18446744073709551615 1")), "next=end");
  EXPECT_EQ(must(guest.ask("get")), "missing");
  EXPECT_EQ(must(guest.ask("check")), before);
}

TEST_F(GuestProgramsTest, KvstoreSaysWhenItsDataDoNotFit) {
  RunningGuest guest = start({.guest = "kvstore", .arguments = "size=100", .memory_mib = 64});
  const MachineEvent event = must(guest.run_until(Kind::kGuestFailed));
  EXPECT_THAT(event.message, AllOf(HasSubstr("100 MiB"), HasSubstr("give the guest more memory")));
}

TEST_F(GuestProgramsTest, KvstoreNoticesADamagedValue) {
  RunningGuest guest = start_ready({.guest = "kvstore", .arguments = "size=0", .memory_mib = 64});
  must(guest.ask("put needle in-the-haystack-of-memory"));
  must(guest.machine().pause(test::kPatience));
  // Search the heap for the stored value (the mailbox, which also has it, lies below).
  GuestMemory& memory = guest.machine().memory();
  const GpaRange heap{Gpa{abi::kImageAddress}, 40 * abi::kMiB};
  const std::span<const std::byte> bytes = must(memory.view(heap));
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::size_t at = text.find("in-the-haystack-of-memory");
  ASSERT_NE(at, std::string_view::npos);
  must(memory.write_object(heap.begin + at, 'I'));
  must(guest.doorbell().post_request(guest.machine().device_host(), "get needle"));
  EXPECT_THAT(must(guest.run_until(Kind::kGuestFailed)).message,
              HasSubstr("the value of needle is damaged"));
}

}  // namespace
}  // namespace stasis::guests
