#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "cli/quantity.h"

namespace stasis::cli {

namespace {

constexpr MonotonicNs kSecond = 1'000'000'000;
// Removes what the line holds.
constexpr const char* kEraseLine = "\r\033[K";

}  // namespace

Progress::Progress(std::string label, ProgressMode mode, const Clock& clock, int sink)
    : label_(std::move(label)),
      mode_(mode),
      clock_(clock),
      sink_(sink),
      begin_(clock.now()),
      next_(begin_ + kSecond) {}

Progress::~Progress() {
  if (shown_ && mode_ == ProgressMode::kTerminal) {
    write_out(kEraseLine);
  }
}

void Progress::write_out(const std::string& text) const {
  // Progress that cannot be shown is not worth an error.
  [[maybe_unused]] const ssize_t written = write(sink_, text.data(), text.size());
}

bool Progress::is_due() {
  if (mode_ == ProgressMode::kOff) {
    return false;
  }
  const MonotonicNs now = clock_.now();
  if (now < next_) {
    return false;
  }
  next_ = now + (mode_ == ProgressMode::kTerminal ? kSecond / 10 : 10 * kSecond);
  return true;
}

void Progress::show(const std::string& text) {
  shown_ = true;
  write_out(mode_ == ProgressMode::kTerminal ? kEraseLine + text
                                             : fmt::format("stasis: {}\n", text));
}

void Progress::update(std::uint64_t done_bytes, std::uint64_t total_bytes) {
  if (!is_due()) {
    return;
  }
  const std::uint64_t done = std::min(done_bytes, total_bytes);
  const double percent = total_bytes == 0
                             ? 100.0
                             : 100.0 * static_cast<double>(done) / static_cast<double>(total_bytes);
  const double seconds = static_cast<double>(clock_.now() - begin_) / 1e9;
  const auto rate = static_cast<std::uint64_t>(static_cast<double>(done) / seconds);
  show(fmt::format("{}: {:.0f} % ({} of {}, {}/s)", label_, percent, format_bytes(done),
                   format_bytes(total_bytes), format_bytes(rate)));
}

void Progress::tick() {
  if (is_due()) {
    show(fmt::format("{} ... {:.0f} s", label_, static_cast<double>(clock_.now() - begin_) / 1e9));
  }
}

}  // namespace stasis::cli
