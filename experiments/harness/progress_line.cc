#include "experiments/harness/progress_line.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace stasis::experiments {
namespace {

constexpr std::int64_t kNsPerSecond = 1'000'000'000;
constexpr std::int64_t kSilentNs = kNsPerSecond;
constexpr std::int64_t kTerminalPeriodNs = kNsPerSecond / 10;
constexpr std::int64_t kLogPeriodNs = 10 * kNsPerSecond;
constexpr std::size_t kBarCells = 20;

}  // namespace

std::string format_duration(std::int64_t ns) {
  const std::int64_t seconds = std::max<std::int64_t>(0, ns / kNsPerSecond);
  if (seconds >= 3600) {
    return fmt::format("{} h {:02} min", seconds / 3600, seconds % 3600 / 60);
  }
  if (seconds >= 60) {
    return fmt::format("{} min {:02} s", seconds / 60, seconds % 60);
  }
  return fmt::format("{} s", seconds);
}

std::string format_progress(std::string_view label, const ProgressState& state,
                            std::string_view item) {
  const std::size_t total = std::max<std::size_t>(1, state.total);
  const std::size_t filled = std::min(state.done, total) * kBarCells / total;
  std::string line = fmt::format("{} [{}{}] {}/{}", label, std::string(filled, '#'),
                                 std::string(kBarCells - filled, '-'), state.done, state.total);
  const std::size_t made = state.done - std::min(state.done, state.done_before);
  if (made > 0 && state.done < state.total) {
    const double each = static_cast<double>(state.elapsed_ns) / static_cast<double>(made);
    const double left = each * static_cast<double>(state.total - state.done);
    line += ", " + format_duration(static_cast<std::int64_t>(left)) + " left";
  }
  return item.empty() ? line : fmt::format("{}: {}", line, item);
}

ProgressLine::ProgressLine(std::string label, std::FILE* stream, const Clock& clock)
    : label_(std::move(label)),
      stream_(stream),
      clock_(clock),
      is_terminal_(stream != nullptr && ::isatty(::fileno(stream)) == 1),
      began_at_(clock.now()),
      due_at_(began_at_ + kSilentNs) {}

ProgressLine::~ProgressLine() {
  if (stream_ != nullptr && is_terminal_ && shown_) {
    fmt::print(stream_, "\r\x1b[K");
    std::fflush(stream_);
  }
}

void ProgressLine::announce(std::string_view text) {
  if (stream_ != nullptr) {
    fmt::print(stream_, "{}: {}\n", label_, text);
    std::fflush(stream_);
  }
}

void ProgressLine::begin(std::size_t done_before, std::size_t total) {
  state_ = {.done = done_before, .total = total, .done_before = done_before, .elapsed_ns = 0};
  began_at_ = clock_.now();
}

void ProgressLine::update(std::size_t done, std::string_view item) {
  state_.done = done;
  state_.elapsed_ns = clock_.now() - began_at_;
  if (is_due()) {
    show(format_progress(label_, state_, item));
  }
}

void ProgressLine::note(std::string_view text) {
  if (is_due()) {
    show(fmt::format("{}: {}", label_, text));
  }
}

bool ProgressLine::is_due() {
  if (stream_ == nullptr) {
    return false;
  }
  const MonotonicNs now = clock_.now();
  if (now < due_at_) {
    return false;
  }
  due_at_ = now + (is_terminal_ ? kTerminalPeriodNs : kLogPeriodNs);
  return true;
}

void ProgressLine::show(const std::string& line) {
  // A failure to show progress is not worth stopping for.
  if (is_terminal_) {
    fmt::print(stream_, "\r{:.110}\x1b[K", line);
  } else {
    fmt::print(stream_, "{}\n", line);
  }
  std::fflush(stream_);
  shown_ = true;
}

}  // namespace stasis::experiments
