#include "kvm/xsave_image.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/address.h"
#include "kvm/host_cpuid.h"

namespace stasis::kvm {
namespace {

// The legacy region: SDM vol. 1, table 10-2. Initial values: SDM vol. 1, 13.6.
constexpr std::size_t kMxcsrOffset = 24;
constexpr std::size_t kX87RegistersOffset = 32, kX87RegistersBytes = 128;
constexpr std::size_t kXmmOffset = 160, kXmmBytes = 256;
constexpr std::uint16_t kInitialFcw = 0x37f;
constexpr std::uint32_t kInitialMxcsr = 0x1f80;

bool is_zero(std::span<const std::byte> bytes) {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

template <typename Word>
Word word_at(std::span<const std::byte> image, std::size_t offset) {
  Word word{};
  std::memcpy(&word, image.data() + offset, sizeof(word));
  return word;
}

bool is_initial_x87(std::span<const std::byte> image) {
  return word_at<std::uint16_t>(image, 0) == kInitialFcw &&
         is_zero(image.subspan(sizeof(kInitialFcw), kMxcsrOffset - sizeof(kInitialFcw))) &&
         is_zero(image.subspan(kX87RegistersOffset, kX87RegistersBytes));
}

// MXCSR is restored with the XMM registers or not at all.
bool is_initial_sse(std::span<const std::byte> image) {
  return word_at<std::uint32_t>(image, kMxcsrOffset) == kInitialMxcsr &&
         is_zero(image.subspan(kXmmOffset, kXmmBytes));
}

bool is_initial(std::span<const std::byte> image, std::uint32_t component,
                const std::vector<X86CpuidEntry>& host) {
  if (component < 2) {
    return component == 0 ? is_initial_x87(image) : is_initial_sse(image);
  }
  const X86CpuidEntry* const leaf = find_leaf(host, 0xd, component);  // EAX bytes at EBX.
  return leaf != nullptr && leaf->eax != 0 && fits(leaf->ebx, leaf->eax, image.size()) &&
         is_zero(image.subspan(leaf->ebx, leaf->eax));
}

}  // namespace

void clear_initial_components(std::span<std::byte> image, const std::vector<X86CpuidEntry>& host) {
  if (image.size() < kXsaveLegacyAndHeaderBytes) {
    return;
  }
  auto components = word_at<std::uint64_t>(image, kXstateBvOffset);
  for (std::uint32_t i = 0; i < 63; ++i) {
    const std::uint64_t bit = std::uint64_t{1} << i;
    if ((components & bit) != 0 && is_initial(image, i, host)) {
      components &= ~bit;
    }
  }
  std::memcpy(image.data() + kXstateBvOffset, &components, sizeof(components));
}

}  // namespace stasis::kvm
