#include "guests/arm64_linux/request_peer.h"

#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "tests/support/must.h"

namespace stasis::guests::arm64 {
namespace {

using Kind = MachineEvent::Kind;

// The outcome of the last byte.
WriteOutcome say(RequestPeer& peer, std::string_view text) {
  WriteOutcome last;
  for (const char c : text) {
    EXPECT_FALSE(last.event.has_value()) << "an event before the end of '" << text << "'";
    last = peer.take(static_cast<std::uint8_t>(c));
  }
  return last;
}

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(RequestPeerTest, ReadyAndCheckpointsHoldTheGuest) {
  RequestPeer peer;
  const WriteOutcome ready = say(peer, "ready\n");
  EXPECT_EQ(ready.after, AfterWrite::kHold);
  EXPECT_EQ(ready.event->kind, Kind::kReady);
  const WriteOutcome checkpoint = say(peer, "checkpoint 18446744073709551615\r\n");
  EXPECT_EQ(checkpoint.event->kind, Kind::kCheckpoint);
  EXPECT_EQ(checkpoint.event->value, UINT64_MAX);
  const WriteOutcome exit = say(peer, "exit 3\n");
  EXPECT_EQ(exit.event->kind, Kind::kExit);
  EXPECT_EQ(exit.event->value, 3U);
}

TEST(RequestPeerTest, AResponseIsItsBytesWhateverTheyAre) {
  RequestPeer peer;
  const std::string body("a\n\0ready\n", 9);
  const WriteOutcome outcome = say(peer, "response 9\n" + body);
  EXPECT_EQ(outcome.event->kind, Kind::kResponse);
  EXPECT_EQ(outcome.event->value, 9U);
  EXPECT_EQ(outcome.after, AfterWrite::kContinue);
  EXPECT_EQ(say(peer, "response 0\n").event->value, 0U);
  EXPECT_EQ(text_of(must(peer.take_response())), body);
  EXPECT_EQ(text_of(must(peer.take_response())), "");
  EXPECT_EQ(peer.take_response().error().code, Errc::kInvalidArgument);
}

TEST(RequestPeerTest, LinesThatMeanNothingAreIgnored) {
  RequestPeer peer;
  for (const std::string& line :
       {std::string("hello"), std::string("ready "), std::string("response"),
        std::string("response -1"), std::string("response 1x"), std::string("response 1048577"),
        std::string("response 99999999999999999999"), std::string("exit "), std::string(1000, 'r'),
        std::string("\0ready", 6) + "x"}) {
    const WriteOutcome outcome = say(peer, line + "\n");
    EXPECT_FALSE(outcome.event.has_value()) << line;
    EXPECT_EQ(outcome.after, AfterWrite::kContinue);
  }
  EXPECT_TRUE(say(peer, "ready\n").event.has_value()) << "and the next one counts";
}

TEST(RequestPeerTest, ARequestIsItsLengthAndItsBytes) {
  const std::string request = "uname -a\n";
  EXPECT_EQ(text_of(must(RequestPeer::frame(std::as_bytes(std::span(request))))), "9\nuname -a\n");
  EXPECT_EQ(text_of(must(RequestPeer::frame({}))), "0\n");
  const std::vector<std::byte> large(RequestPeer::kMessageBytesMax + 1);
  EXPECT_EQ(RequestPeer::frame(large).error().code, Errc::kOutOfRange);
}

TEST(RequestPeerTest, AStateWithinALineOrAResponseContinues) {
  const std::string whole = "chatter\nresponse 5\nabcde";
  for (std::size_t cut = 0; cut < whole.size(); ++cut) {
    RequestPeer first, second;
    say(first, whole.substr(0, cut));
    must(second.load(first.save()));
    EXPECT_EQ(second.save(), first.save());
    EXPECT_EQ(say(second, whole.substr(cut)).event->kind, Kind::kResponse) << cut;
    EXPECT_EQ(text_of(must(second.take_response())), "abcde");
  }
}

TEST(RequestPeerTest, BytesThatAreNoStateAreRefused) {
  RequestPeer peer;
  say(peer, "response 5\nab");
  const std::vector<std::byte> good = peer.save();
  for (std::size_t size = 0; size < 9; ++size) {
    EXPECT_EQ(peer.load(std::span(good).first(size)).error().code, Errc::kCorruption) << size;
  }
  std::vector<std::byte> bad = good;
  bad[8] = std::byte{1};  // Far more is missing than a response may have.
  EXPECT_FALSE(peer.load(bad));
  bad = RequestPeer().save();
  bad.push_back(std::byte{1});  // Part of a response of which nothing is missing.
  EXPECT_FALSE(peer.load(bad));
  EXPECT_FALSE(peer.load(std::vector<std::byte>(200, std::byte{'x'})));
}

}  // namespace
}  // namespace stasis::guests::arm64
