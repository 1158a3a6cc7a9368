#include "guests/doorbell_state.h"

#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "core/address.h"
#include "guests/abi.h"
#include "guests/doorbell_device.h"

namespace stasis::guests {
namespace {

template <typename T>
void store(std::vector<std::byte>& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    out.push_back(static_cast<std::byte>((value >> (8 * i)) & 0xff));
  }
}

Error corrupt(std::string_view field, std::string_view cause) {
  return Error{.code = Errc::kCorruption,
               .message = "doorbell state: " + std::string(field) + ": " + std::string(cause)};
}

// Takes little-endian numbers and byte strings off the front of untrusted bytes.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <typename T>
  Result<T> number(std::string_view field) {
    STASIS_ASSIGN(const std::span<const std::byte> taken, take(field, sizeof(T)));
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      value |= std::to_integer<std::uint64_t>(taken[i]) << (8 * i);
    }
    return static_cast<T>(value);
  }

  Result<std::span<const std::byte>> take(std::string_view field, std::size_t size) {
    if (!fits(at_, size, bytes_.size())) {
      return corrupt(field, "ends after " + std::to_string(bytes_.size()) + " bytes");
    }
    const auto taken = bytes_.subspan(at_, size);
    at_ += size;
    return taken;
  }

  [[nodiscard]] bool at_end() const { return at_ == bytes_.size(); }

 private:
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
};

Result<void> check(const DoorbellState& state) {
  if (state.service_vcpu >= abi::kVcpusMax) {
    return corrupt("service vCPU", std::to_string(state.service_vcpu) + " is above the limit");
  }
  if (state.responded_seq > state.delivered_seq || state.delivered_seq - state.responded_seq > 1) {
    return corrupt("responded sequence", "is neither the delivered one nor the one before");
  }
  if (!state.queue.empty() && state.responded_seq == state.delivered_seq) {
    return corrupt("queue", "requests wait although none is being answered");
  }
  return {};
}

}  // namespace

std::vector<std::byte> encode_doorbell_state(const DoorbellState& state) {
  std::vector<std::byte> out;
  store(out, state.mailbox);
  store(out, std::uint32_t{state.rung});
  store(out, state.service_vcpu);
  store(out, state.delivered_seq);
  store(out, state.responded_seq);
  store(out, state.restore_count);
  store(out, static_cast<std::uint32_t>(state.queue.size()));
  for (const std::vector<std::byte>& request : state.queue) {
    store(out, static_cast<std::uint32_t>(request.size()));
    out.insert(out.end(), request.begin(), request.end());
  }
  return out;
}

Result<DoorbellState> decode_doorbell_state(std::span<const std::byte> bytes) {
  Cursor cursor(bytes);
  DoorbellState state;
  STASIS_ASSIGN(state.mailbox, cursor.number<std::uint64_t>("mailbox"));
  STASIS_ASSIGN(const std::uint32_t rung, cursor.number<std::uint32_t>("rung"));
  if (rung > 1) {
    return corrupt("rung", "is neither 0 nor 1");
  }
  state.rung = rung != 0;
  STASIS_ASSIGN(state.service_vcpu, cursor.number<std::uint32_t>("service vCPU"));
  STASIS_ASSIGN(state.delivered_seq, cursor.number<std::uint64_t>("delivered sequence"));
  STASIS_ASSIGN(state.responded_seq, cursor.number<std::uint64_t>("responded sequence"));
  STASIS_ASSIGN(state.restore_count, cursor.number<std::uint64_t>("restore count"));
  STASIS_ASSIGN(const std::uint32_t queued, cursor.number<std::uint32_t>("queue length"));
  if (queued > DoorbellDevice::kQueuedRequestsMax) {
    return corrupt("queue length", std::to_string(queued) + " is above the limit");
  }
  for (std::uint32_t i = 0; i < queued; ++i) {
    STASIS_ASSIGN(const std::uint32_t size, cursor.number<std::uint32_t>("request size"));
    if (size > abi::kRequestBytesMax) {
      return corrupt("request size", std::to_string(size) + " is larger than the mailbox");
    }
    STASIS_ASSIGN(const std::span<const std::byte> request, cursor.take("request", size));
    state.queue.emplace_back(request.begin(), request.end());
  }
  if (!cursor.at_end()) {
    return corrupt("end", "bytes follow the last request");
  }
  STASIS_TRY(check(state));
  return state;
}

}  // namespace stasis::guests
