// The distributor's and the redistributors' registers. IHI 0069: 12.8 to 12.11.
#include <algorithm>

#include "hvf/sim/gic.h"

namespace stasis::hvf::sim {
namespace {

constexpr std::uint32_t kGroups = 3;                          // GICD_CTLR: EnableGrp0, EnableGrp1.
constexpr std::uint32_t kFixedControl = 1U << 6U | 1U << 4U;  // DS, ARE: always on.
// GICD_TYPER: No1N, 10 bits of INTID, 32 * (31 + 1) interrupts.
constexpr std::uint32_t kDistributorType = 1U << 25U | 9U << 19U | 31U;
constexpr std::uint32_t kArchitecture = 0x3b;  // PIDR2: GICv3.
constexpr std::uint8_t kPriorityBits = 0xf8;
constexpr std::uint64_t kControl = 0, kType = 4, kPidr2 = 0xffe8;
constexpr std::uint64_t kPriorities = 0x400, kPrioritiesEnd = 0x800;
constexpr std::uint64_t kConfigurations = 0xc00, kConfigurationsEnd = 0xd00;
constexpr std::uint64_t kRoutes = 0x6100, kRoutesEnd = 0x7fe0;
constexpr std::uint64_t kRedistributorType = 8, kSgiFrame = 0x10000;
constexpr std::uint64_t kRouteBits = 0xff80ffffff;

// The blocks of one bit for each interrupt, 0x80 bytes each.
enum class Bits : std::uint64_t {
  kGroup = 1,
  kSetEnable,
  kClearEnable,
  kSetPending,
  kClearPending,
  kSetActive,
  kClearActive,
};
constexpr bool is_bits(std::uint64_t offset) {
  return offset >= 0x80 && offset < 0x400;
}
constexpr Bits bits_of(std::uint64_t offset) {
  return static_cast<Bits>(offset / 0x80);
}
constexpr std::uint64_t word_number(std::uint64_t offset) {
  return offset % 0x80 / 4;
}

// Interrupts of a word that exist: the last four numbers of 1024 are special.
constexpr std::uint32_t implemented(std::uint64_t word) {
  return word == 31 ? 0x0fffffffU : 0xffffffffU;
}

std::uint32_t read_bits(const GicWord& word, Bits bits) {
  switch (bits) {
    case Bits::kGroup:
      return word.group;
    case Bits::kSetEnable:
    case Bits::kClearEnable:
      return word.enabled;
    case Bits::kSetPending:
    case Bits::kClearPending:
      return word.pending();
    case Bits::kSetActive:
    case Bits::kClearActive:
      return word.active;
  }
  return 0;
}

void write_bits(GicWord& word, Bits bits, std::uint32_t value) {
  switch (bits) {
    case Bits::kGroup:
      word.group = value;
      break;
    case Bits::kSetEnable:
      word.enabled |= value;
      break;
    case Bits::kClearEnable:
      word.enabled &= ~value;
      break;
    case Bits::kSetPending:
      word.latched |= value;
      break;
    case Bits::kClearPending:
      word.latched &= ~value;
      break;
    case Bits::kSetActive:
      word.active |= value;
      break;
    case Bits::kClearActive:
      word.active &= ~value;
      break;
  }
}

// GICD_ICFGR<n> and GICR_ICFGR<n> have two bits for each interrupt, of which the upper counts.
std::uint32_t read_configuration(const GicWord& word, bool upper_half) {
  const std::uint32_t edges = upper_half ? word.edge >> 16U : word.edge & 0xffffU;
  std::uint32_t value = 0;
  for (std::uint32_t i = 0; i < 16; ++i) {
    value |= (edges >> i & 1U) << (2 * i + 1);
  }
  return value;
}
void write_configuration(GicWord& word, bool upper_half, std::uint32_t value) {
  std::uint32_t edges = 0;
  for (std::uint32_t i = 0; i < 16; ++i) {
    edges |= (value >> (2 * i + 1) & 1U) << i;
  }
  word.edge = upper_half ? (word.edge & 0xffffU) | edges << 16U : (word.edge & ~0xffffU) | edges;
}

std::uint32_t read_priorities(const std::uint8_t* priorities) {
  return std::uint32_t{priorities[0]} | std::uint32_t{priorities[1]} << 8U |
         std::uint32_t{priorities[2]} << 16U | std::uint32_t{priorities[3]} << 24U;
}

// Of the words that an access touches, shifted to its beginning.
template <typename ReadWord>
std::uint64_t read_wide(std::uint64_t offset, std::uint32_t width, const ReadWord& read_word) {
  std::uint64_t value = read_word(offset & ~std::uint64_t{3});
  if (width == 8) {
    value |= std::uint64_t{read_word(offset + 4)} << 32U;
  }
  value >>= 8 * (offset & 3U);
  return width == 8 ? value : value & ((std::uint64_t{1} << (8 * width)) - 1);
}

// Bytes and halfwords are for priorities alone.
template <typename WriteWord>
void write_wide(std::uint64_t offset, std::uint32_t width, std::uint64_t value,
                const WriteWord& write_word) {
  if (width >= 4) {
    write_word(offset, static_cast<std::uint32_t>(value));
  }
  if (width == 8) {
    write_word(offset + 4, static_cast<std::uint32_t>(value >> 32U));
  }
}

void write_priorities(std::span<std::uint8_t> priorities, std::uint64_t first, std::uint32_t width,
                      std::uint64_t value) {
  for (std::uint32_t i = 0; i < width && first + i < priorities.size(); ++i) {
    priorities[first + i] = static_cast<std::uint8_t>(value >> (8 * i)) & kPriorityBits;
  }
}

}  // namespace

std::uint32_t Gic::read_distributor_word(std::uint64_t offset) const {
  if (is_bits(offset)) {
    const std::uint64_t number = word_number(offset);
    return number == 0 ? 0 : read_bits(words_[number], bits_of(offset));
  }
  if (offset >= kPriorities + kPrivateIntids && offset < kPrioritiesEnd) {
    return read_priorities(&priorities_[offset - kPriorities]);
  }
  if (offset >= kConfigurations + 8 && offset < kConfigurationsEnd) {
    const std::uint64_t number = (offset - kConfigurations) / 4;
    return read_configuration(words_[number / 2], number % 2 != 0);
  }
  if (offset >= kRoutes && offset < kRoutesEnd) {
    const std::uint64_t route = routes_[(offset - kRoutes) / 8 + kPrivateIntids];
    return static_cast<std::uint32_t>(offset % 8 == 0 ? route : route >> 32U);
  }
  switch (offset) {
    case kControl:
      return control_ | kFixedControl;
    case kType:
      return kDistributorType;
    case kPidr2:
      return kArchitecture;
    default:
      return 0;
  }
}

void Gic::write_distributor_word(std::uint64_t offset, std::uint32_t value) {
  if (is_bits(offset)) {
    const std::uint64_t number = word_number(offset);
    if (number != 0) {
      write_bits(words_[number], bits_of(offset), value & implemented(number));
    }
  } else if (offset >= kConfigurations + 8 && offset < kConfigurationsEnd) {
    const std::uint64_t number = (offset - kConfigurations) / 4;
    write_configuration(words_[number / 2], number % 2 != 0, value);
  } else if (offset >= kRoutes && offset < kRoutesEnd) {
    std::uint64_t& route = routes_[(offset - kRoutes) / 8 + kPrivateIntids];
    const std::uint64_t half = offset % 8 == 0 ? std::uint64_t{value} : std::uint64_t{value} << 32U;
    const std::uint64_t kept = offset % 8 == 0 ? ~std::uint64_t{0xffffffff} : 0xffffffff;
    route = ((route & kept) | half) & kRouteBits;
  } else if (offset == kControl) {
    control_ = value & kGroups;
  }
}

std::uint64_t Gic::read_distributor(std::uint64_t offset, std::uint32_t width) const {
  return read_wide(offset, width, [this](std::uint64_t at) { return read_distributor_word(at); });
}

void Gic::write_distributor(std::uint64_t offset, std::uint32_t width, std::uint64_t value) {
  if (offset >= kPriorities + kPrivateIntids && offset < kPrioritiesEnd) {
    write_priorities(priorities_, offset - kPriorities, width, value);
    return;
  }
  write_wide(offset, width, value,
             [this](std::uint64_t at, std::uint32_t word) { write_distributor_word(at, word); });
}

std::uint32_t Gic::read_redistributor_word(std::uint32_t cpu, std::uint64_t offset) const {
  const GicCpu& own = cpus_[cpu];
  if (offset < kSgiFrame) {
    const std::uint64_t affinity = own.affinity;
    const bool is_last = cpu + 1 == cpu_count();
    switch (offset) {
      case kRedistributorType:  // Processor_Number, Last.
        return cpu << 8U | (is_last ? 1U << 4U : 0);
      case kRedistributorType + 4:  // Affinity_Value.
        return static_cast<std::uint32_t>((affinity & 0xffffffU) | (affinity >> 8U & 0xff000000U));
      case kPidr2:
        return kArchitecture;
      default:
        return 0;  // GICR_WAKER among them: a CPU of ours is never asleep.
    }
  }
  const std::uint64_t at = offset - kSgiFrame;
  if (is_bits(at)) {
    return word_number(at) == 0 ? read_bits(own.interrupts, bits_of(at)) : 0;
  }
  if (at >= kPriorities && at < kPriorities + kPrivateIntids) {
    return read_priorities(&own.priorities[at - kPriorities]);
  }
  if (at == kConfigurations || at == kConfigurations + 4) {
    return read_configuration(own.interrupts, at != kConfigurations);
  }
  return 0;
}

void Gic::write_redistributor_word(std::uint32_t cpu, std::uint64_t offset, std::uint32_t value) {
  GicWord& own = cpus_[cpu].interrupts;
  const std::uint64_t at = offset - kSgiFrame;
  if (offset >= kSgiFrame && is_bits(at) && word_number(at) == 0) {
    write_bits(own, bits_of(at), value);
  } else if (offset >= kSgiFrame && at == kConfigurations + 4) {  // SGIs are edges for good.
    write_configuration(own, true, value);
  }
}

std::uint64_t Gic::read_redistributor(std::uint32_t cpu, std::uint64_t offset,
                                      std::uint32_t width) const {
  return read_wide(offset, width,
                   [&](std::uint64_t at) { return read_redistributor_word(cpu, at); });
}

void Gic::write_redistributor(std::uint32_t cpu, std::uint64_t offset, std::uint32_t width,
                              std::uint64_t value) {
  const std::uint64_t first = kSgiFrame + kPriorities;
  if (offset >= first && offset < first + kPrivateIntids) {
    write_priorities(cpus_[cpu].priorities, offset - first, width, value);
    return;
  }
  write_wide(offset, width, value, [&](std::uint64_t at, std::uint32_t word) {
    write_redistributor_word(cpu, at, word);
  });
}

}  // namespace stasis::hvf::sim
