#include "guests/doorbell_device.h"

#include <array>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "guests/abi.h"
#include "tests/guests/guest_fixture.h"

namespace stasis::guests {
namespace {

using abi::Mailbox;
using abi::MailboxHeader;
using abi::Register;
using test::FakeHost;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr Gpa kMailbox{abi::kMailboxAddress};

class FixedClock final : public Clock {
 public:
  [[nodiscard]] MonotonicNs now() const noexcept override { return 1234; }
  [[nodiscard]] std::int64_t wall_ns() const noexcept override { return 5678; }
};

class DoorbellDeviceTest : public ::testing::Test {
 protected:
  DoorbellConfig config() {
    DoorbellConfig config;
    config.console = [this](std::string_view text) { console_ += text; };
    config.random = [this](std::span<std::byte> out) {
      for (std::byte& byte : out) {
        byte = static_cast<std::byte>(++random_);
      }
    };
    config.clock = &clock_;
    return config;
  }
  WriteOutcome ring(Register reg, std::uint64_t value, std::uint32_t vcpu = 0) {
    return must(device_.write(abi::register_offset(reg), 4, value, vcpu, host_));
  }
  template <typename T>
  T header_field(std::size_t offset) {
    return must(host_.memory().read_object<T>(kMailbox + offset));
  }
  void put_text(std::size_t offset, std::string_view text) {
    must(host_.memory().write(kMailbox + offset, std::as_bytes(std::span(text))));
  }
  void set_response_seq(std::uint64_t seq) {
    must(host_.memory().write_object(kMailbox + offsetof(MailboxHeader, response_seq), seq));
  }
  WriteOutcome respond(std::uint64_t seq, std::string_view text, std::uint32_t vcpu = 0) {
    put_text(offsetof(Mailbox, response), text);
    set_response_seq(seq);
    return ring(Register::kRespond, text.size(), vcpu);
  }
  std::string next_response() {
    const std::vector<std::byte> bytes = must(device_.take_response());
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  std::string request_in_mailbox() {
    std::string text(header_field<std::uint32_t>(offsetof(MailboxHeader, request_bytes)), '\0');
    must(host_.memory().read(kMailbox + offsetof(Mailbox, request),
                             std::as_writable_bytes(std::span(text))));
    return text;
  }
  void expect_guest_failed(const WriteOutcome& outcome, std::string_view words) {
    EXPECT_EQ(outcome.after, AfterWrite::kHold);
    ASSERT_TRUE(outcome.event.has_value());
    EXPECT_EQ(outcome.event->kind, MachineEvent::Kind::kGuestFailed);
    EXPECT_THAT(outcome.event->message, HasSubstr(std::string(words)));
  }

  FixedClock clock_;
  std::string console_;
  std::uint8_t random_ = 0;
  FakeHost host_;
  DoorbellDevice device_{config()};
};

TEST_F(DoorbellDeviceTest, ReadsGiveMagicAndVersionAndOnesElsewhere) {
  const auto read = [this](Register reg) {
    return must(device_.read(abi::register_offset(reg), 4, 0, host_));
  };
  EXPECT_EQ(read(Register::kAbiMagic), abi::kMagic);
  EXPECT_EQ(read(Register::kAbiVersion), abi::kVersion);
  EXPECT_EQ(read(Register::kReady), UINT64_MAX);
}

TEST_F(DoorbellDeviceTest, ConsoleOutputReachesTheSink) {
  put_text(offsetof(Mailbox, console), "one two");
  EXPECT_EQ(ring(Register::kConsole, 3).after, AfterWrite::kContinue);
  EXPECT_EQ(console_, "one");
  ring(Register::kConsole, 0);
  EXPECT_EQ(console_, "one");
  ring(Register::kConsole, abi::kConsoleBytesMax);
  EXPECT_EQ(console_.size(), 3 + abi::kConsoleBytesMax);
}

TEST_F(DoorbellDeviceTest, PhaseDoorbellsHoldAndTell) {
  const WriteOutcome ready = ring(Register::kReady, 0);
  EXPECT_EQ(ready.after, AfterWrite::kHold);
  EXPECT_EQ(ready.event->kind, MachineEvent::Kind::kReady);
  const WriteOutcome checkpoint = ring(Register::kCheckpoint, 17);
  EXPECT_EQ(checkpoint.after, AfterWrite::kHold);
  EXPECT_EQ(checkpoint.event->kind, MachineEvent::Kind::kCheckpoint);
  EXPECT_EQ(checkpoint.event->value, 17);
  const WriteOutcome exit = ring(Register::kExit, 3);
  EXPECT_EQ(exit.after, AfterWrite::kHold);
  EXPECT_EQ(exit.event->kind, MachineEvent::Kind::kExit);
  EXPECT_EQ(exit.event->value, 3);
}

TEST_F(DoorbellDeviceTest, WaitAndParkParkWithoutAnEvent) {
  for (const Register reg : {Register::kWait, Register::kPark}) {
    const WriteOutcome outcome = ring(reg, 0);
    EXPECT_EQ(outcome.after, AfterWrite::kPark);
    EXPECT_FALSE(outcome.event.has_value());
  }
}

TEST_F(DoorbellDeviceTest, WakeReachesTheNamedVcpuOnly) {
  EXPECT_EQ(ring(Register::kWake, 1).after, AfterWrite::kContinue);
  EXPECT_THAT(host_.woken, ElementsAre(1));
  expect_guest_failed(ring(Register::kWake, 2), "wake of vCPU 2, but there are 2");
  EXPECT_THAT(host_.woken, ElementsAre(1));
}

TEST_F(DoorbellDeviceTest, RequestIsDeliveredAndTheWaitingVcpuWoken) {
  ring(Register::kWait, 0, 1);
  must(device_.post_request(host_, "hello"));
  EXPECT_EQ(header_field<std::uint64_t>(offsetof(MailboxHeader, request_seq)), 1);
  EXPECT_EQ(request_in_mailbox(), "hello");
  EXPECT_THAT(host_.woken, ElementsAre(1));

  const WriteOutcome outcome = respond(1, "world", 1);
  EXPECT_EQ(outcome.after, AfterWrite::kPark);
  EXPECT_EQ(outcome.event->kind, MachineEvent::Kind::kResponse);
  EXPECT_EQ(outcome.event->value, 5);
  EXPECT_EQ(next_response(), "world");
  EXPECT_EQ(device_.take_response().error().code, Errc::kNotFound);
}

TEST_F(DoorbellDeviceTest, RequestsQueueWhileOneIsBeingAnswered) {
  for (const char* const text : {"a", "bb", "ccc"}) {
    must(device_.post_request(host_, text));
  }
  EXPECT_EQ(device_.outstanding_requests(), 3);
  EXPECT_EQ(request_in_mailbox(), "a");
  EXPECT_EQ(respond(1, "A").after, AfterWrite::kContinue);
  EXPECT_EQ(request_in_mailbox(), "bb");
  EXPECT_EQ(respond(2, "B").after, AfterWrite::kContinue);
  EXPECT_EQ(request_in_mailbox(), "ccc");
  EXPECT_EQ(respond(3, "").after, AfterWrite::kPark);
  EXPECT_EQ(device_.outstanding_requests(), 0);
  EXPECT_EQ(next_response(), "A");
  EXPECT_EQ(next_response(), "B");
  EXPECT_EQ(next_response(), "");
}

TEST_F(DoorbellDeviceTest, RequestsUpToTheMailboxFitAndLargerOnesAreRefused) {
  const std::string most(abi::kRequestBytesMax, 'x');
  must(device_.post_request(host_, most));
  EXPECT_EQ(request_in_mailbox(), most);
  const Error error = device_.post_request(host_, most + "y").error();
  EXPECT_EQ(error.code, Errc::kOutOfRange);
  EXPECT_THAT(error.message, HasSubstr("65537"));
  EXPECT_THAT(error.message, HasSubstr("65536"));
  EXPECT_EQ(device_.outstanding_requests(), 1);
}

TEST_F(DoorbellDeviceTest, QueueIsBounded) {
  for (std::size_t i = 0; i < DoorbellDevice::kQueuedRequestsMax + 1; ++i) {
    must(device_.post_request(host_, "x"));
  }
  EXPECT_EQ(device_.post_request(host_, "x").error().code, Errc::kInvalidArgument);
}

TEST_F(DoorbellDeviceTest, HostWritesAreRecordedAsDirty) {
  host_.memory().host_writes().clear();
  must(device_.post_request(host_, "hello"));
  ring(Register::kRandom, 0);
  EXPECT_THAT(
      host_.memory().host_writes().collect(),
      ElementsAre(GpaRange{kMailbox, 4096}, GpaRange{kMailbox + offsetof(Mailbox, request), 4096}));
}

TEST_F(DoorbellDeviceTest, LengthsAboveTheBuffersFailTheGuest) {
  for (const std::uint32_t bytes : {abi::kConsoleBytesMax + 1, UINT32_MAX}) {
    expect_guest_failed(ring(Register::kConsole, bytes), "larger than the mailbox's 4096");
    expect_guest_failed(ring(Register::kPanic, bytes), "larger than the mailbox's 4096");
  }
  must(device_.post_request(host_, "x"));
  set_response_seq(1);
  for (const std::uint32_t bytes : {abi::kResponseBytesMax + 1, UINT32_MAX}) {
    expect_guest_failed(ring(Register::kRespond, bytes), "larger than the mailbox's 65536");
  }
  EXPECT_EQ(console_, "");
  EXPECT_EQ(device_.take_response().error().code, Errc::kNotFound);
}

TEST_F(DoorbellDeviceTest, ResponsesToNothingFailTheGuest) {
  expect_guest_failed(respond(0, "x"), "no request is being answered");
  must(device_.post_request(host_, "x"));
  expect_guest_failed(respond(0, "x"), "a response to request 0, but request 1");
  expect_guest_failed(respond(2, "x"), "a response to request 2, but request 1");
  respond(1, "x");
  expect_guest_failed(respond(1, "x"), "no request is being answered");
}

TEST_F(DoorbellDeviceTest, EveryOtherRegisterAndWidthFailsTheGuest) {
  for (std::uint32_t number = 0; number < abi::kDoorbellWindowBytes / 4; ++number) {
    if (number < 2 || number > static_cast<std::uint32_t>(Register::kPanic)) {
      expect_guest_failed(must(device_.write(4 * number, 4, 0, 0, host_)), "cannot be written");
    }
  }
  for (const std::uint8_t width : {std::uint8_t{1}, std::uint8_t{2}}) {
    expect_guest_failed(must(device_.write(8, width, 0, 0, host_)), "not a 32-bit register");
  }
  expect_guest_failed(must(device_.write(10, 4, 0, 0, host_)), "not a 32-bit register");
  expect_guest_failed(must(device_.write(24, 8, 1ULL << 32, 0, host_)), "does not fit");
  EXPECT_EQ(must(device_.write(24, 8, 7, 0, host_)).event->value, 7);
}

TEST_F(DoorbellDeviceTest, HostServicesFillTheirFields) {
  ring(Register::kRandom, 0);
  const auto first =
      header_field<std::array<std::uint8_t, abi::kRandomBytes>>(offsetof(MailboxHeader, random));
  ring(Register::kRandom, 0);
  const auto second =
      header_field<std::array<std::uint8_t, abi::kRandomBytes>>(offsetof(MailboxHeader, random));
  EXPECT_NE(first, second);
  ring(Register::kClock, 0);
  EXPECT_EQ(header_field<std::int64_t>(offsetof(MailboxHeader, wall_ns)), 5678);
  EXPECT_EQ(header_field<std::int64_t>(offsetof(MailboxHeader, monotonic_ns)), 1234);
}

using GenerationId = std::array<std::uint8_t, abi::kGenerationBytes>;

TEST_F(DoorbellDeviceTest, GenerationIsStableUntilARestore) {
  const auto generation = [this] {
    ring(Register::kGeneration, 0);
    return header_field<GenerationId>(offsetof(MailboxHeader, generation));
  };
  const auto restores = [this] {
    return header_field<std::uint64_t>(offsetof(MailboxHeader, restore_count));
  };
  const GenerationId first = generation();
  EXPECT_EQ(generation(), first);
  EXPECT_EQ(restores(), 0);
  const DeviceState state = must(device_.save_state());
  EXPECT_EQ(generation(), first) << "saving is not restoring";
  must(device_.load_state(state));
  const GenerationId second = generation();
  EXPECT_NE(second, first);
  EXPECT_EQ(restores(), 1);
  must(device_.load_state(state));
  EXPECT_NE(generation(), second) << "two clones of one snapshot differ";
  EXPECT_EQ(restores(), 1);
  device_.new_generation();
  EXPECT_NE(generation(), second);
  EXPECT_EQ(restores(), 2);
}

TEST_F(DoorbellDeviceTest, LoadingAStateFromBeforeTheFirstDoorbellIsABoot) {
  must(device_.load_state(must(device_.save_state())));
  EXPECT_EQ(device_.restore_count(), 0);
}

TEST_F(DoorbellDeviceTest, RestoredDeviceGoesOnWhereTheSavedOneStood) {
  ring(Register::kWait, 0, 1);
  must(device_.post_request(host_, "first"));
  must(device_.post_request(host_, "second"));
  const DeviceState state = must(device_.save_state());

  DoorbellDevice restored(config());
  must(restored.load_state(state));
  EXPECT_EQ(restored.outstanding_requests(), 2);
  set_response_seq(1);
  const WriteOutcome outcome =
      must(restored.write(abi::register_offset(Register::kRespond), 4, 0, 1, host_));
  EXPECT_EQ(outcome.after, AfterWrite::kContinue);
  EXPECT_EQ(request_in_mailbox(), "second");
}

TEST_F(DoorbellDeviceTest, ResponsesNotYetTakenAreNotPartOfTheState) {
  must(device_.post_request(host_, "x"));
  respond(1, "answer");
  must(device_.load_state(must(device_.save_state())));
  EXPECT_EQ(device_.take_response().error().code, Errc::kNotFound);
}

TEST_F(DoorbellDeviceTest, StatesOfOtherDevicesVersionsAndMailboxesAreRefused) {
  ring(Register::kWait, 0);
  const DeviceState good = must(device_.save_state());
  DeviceState other = good;
  other.name = "serial";
  EXPECT_EQ(device_.load_state(other).error().code, Errc::kMismatch);
  other = good;
  other.version = 99;
  EXPECT_THAT(device_.load_state(other).error().message, HasSubstr("version 99 is unknown"));
  DoorbellConfig elsewhere = config();
  elsewhere.mailbox = Gpa{0x1000};
  DoorbellDevice moved(elsewhere);
  EXPECT_EQ(moved.load_state(good).error().code, Errc::kMismatch);
  EXPECT_EQ(device_.restore_count(), 0) << "nothing was loaded";
}

TEST_F(DoorbellDeviceTest, HistogramIsTakenWhenItsNumbersAgree) {
  EXPECT_FALSE(device_.fault_histogram().has_value());
  abi::FaultHistogram histogram;
  histogram.count = 3;
  histogram.total_cycles = 100;
  histogram.buckets[4] = 2;
  histogram.buckets[39] = 1;
  const Gpa at = kMailbox + offsetof(MailboxHeader, fault_histogram);
  must(host_.memory().write_object(at, histogram));
  EXPECT_EQ(ring(Register::kFaultProbe, 0).after, AfterWrite::kContinue);
  EXPECT_EQ(device_.fault_histogram()->buckets[4], 2);

  histogram.buckets[5] = UINT64_MAX;  // A sum that wraps around to the count.
  histogram.buckets[6] = 1;
  must(host_.memory().write_object(at, histogram));
  expect_guest_failed(ring(Register::kFaultProbe, 0), "more than its count");
  histogram = {};
  histogram.count = 1;
  must(host_.memory().write_object(at, histogram));
  expect_guest_failed(ring(Register::kFaultProbe, 0), "more than its buckets");
  EXPECT_EQ(device_.fault_histogram()->buckets[4], 2) << "the last good one stays";
}

TEST_F(DoorbellDeviceTest, PanicWithTextShowsItWithoutControlCharacters) {
  put_text(offsetof(Mailbox, console), "out of\x1b[31m memory\n");
  expect_guest_failed(ring(Register::kPanic, 18), "guest panic: out of.[31m memory");
}

TEST_F(DoorbellDeviceTest, PanicWithoutTextDescribesTheTrapFrame) {
  abi::X86TrapFrame frame;
  frame.vector = 14;
  frame.error_code = 6;
  frame.rip = 0x401234;
  frame.cr2 = 8;
  must(host_.memory().write_object(Gpa{abi::kTrapFramesAddress + abi::kTrapFrameBytes}, frame));
  const WriteOutcome outcome = ring(Register::kPanic, 0, 1);
  expect_guest_failed(outcome, "page fault (#PF, vector 14) on vCPU 1 at rip 0x401234");
  EXPECT_THAT(outcome.event->message, HasSubstr("write to 0x8 (not mapped)"));
  EXPECT_THAT(outcome.event->message, HasSubstr("null pointer"));
}

TEST_F(DoorbellDeviceTest, AnyTrapFrameGivesAReport) {
  std::array<std::uint8_t, abi::kTrapFrameBytes> frame{};
  frame.fill(0xff);
  must(host_.memory().write_object(Gpa{abi::kTrapFramesAddress}, frame));
  expect_guest_failed(ring(Register::kPanic, 0), "unknown exception");
}

TEST_F(DoorbellDeviceTest, MailboxOutsideRamIsAHostFailure) {
  DoorbellConfig outside = config();
  outside.mailbox = Gpa{0x4000'0000};
  DoorbellDevice device(outside);
  EXPECT_EQ(device.post_request(host_, "x").error().code, Errc::kOutOfRange);
  EXPECT_EQ(device.write(abi::register_offset(Register::kConsole), 4, 1, 0, host_).error().code,
            Errc::kOutOfRange);
}

TEST_F(DoorbellDeviceTest, DefaultRandomnessComesFromTheSystem) {
  DoorbellDevice a{DoorbellConfig{}};
  DoorbellDevice b{DoorbellConfig{}};
  const auto id = [this](DoorbellDevice& device) {
    must(device.write(abi::register_offset(Register::kGeneration), 4, 0, 0, host_));
    return header_field<GenerationId>(offsetof(MailboxHeader, generation));
  };
  EXPECT_NE(id(a), id(b));
}

TEST_F(DoorbellDeviceTest, AttachesToPortsOnX86OnlyAndToMmioEverywhere) {
  const IoAccess port{IoSpace::kPort, abi::kDoorbellPort + 8, 4};
  const IoAccess mmio{IoSpace::kMmio, abi::kDoorbellMmioAddress + 8, 4};
  DeviceBus x86, arm64;
  const auto device = std::make_shared<DoorbellDevice>(config());
  must(attach_doorbell(x86, device, Architecture::kX86_64));
  must(attach_doorbell(arm64, device, Architecture::kArm64));
  EXPECT_EQ(x86.find(port)->offset, 8);
  EXPECT_EQ(x86.find(mmio)->offset, 8);
  EXPECT_FALSE(arm64.find(port).has_value());
  EXPECT_EQ(arm64.find(mmio)->device, device.get());
  EXPECT_EQ(x86.devices().size(), 1);
}

}  // namespace
}  // namespace stasis::guests
