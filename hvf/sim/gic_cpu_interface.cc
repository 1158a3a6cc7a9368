// ICC_*_EL1: acknowledging, ending and sending interrupts, and the priorities between them.
// IHI 0069: 4.8 (prioritization), 12.2 (System registers).
#include <algorithm>
#include <bit>

#include "hvf/sim/gic.h"

namespace stasis::hvf::sim {
namespace {

enum : std::uint16_t {
  kPmr = 0xc230,
  kIar0 = 0xc640,
  kEoir0 = 0xc641,
  kHppir0 = 0xc642,
  kBpr0 = 0xc643,
  kAp0r0 = 0xc644,
  kAp1r0 = 0xc648,
  kDir = 0xc659,
  kRpr = 0xc65b,
  kSgi1r = 0xc65d,
  kAsgi1r = 0xc65e,
  kSgi0r = 0xc65f,
  kIar1 = 0xc660,
  kEoir1 = 0xc661,
  kHppir1 = 0xc662,
  kBpr1 = 0xc663,
  kCtlr = 0xc664,
  kSre = 0xc665,
  kIgrpen0 = 0xc666,
  kIgrpen1 = 0xc667,
};

constexpr std::uint8_t kCommonBinaryPoint = 1, kSplitEnd = 2;  // ICC_CTLR_EL1: CBPR, EOImode.
constexpr std::uint64_t kFixedControl = 4U << 8U;              // PRIbits: 5. IDbits: 16.
constexpr std::uint64_t kSystemRegistersOn = 7;                // ICC_SRE_EL1, constant.
constexpr std::uint8_t kPriorityBits = 0xf8;
constexpr std::uint8_t kIdlePriority = 0xff;
constexpr std::array<std::uint8_t, 2> kBinaryPointMin = {2, 3};

// The bits of a priority that decide whether one interrupt may interrupt another.
std::uint8_t group_priority(const GicCpu& cpu, std::uint32_t group, std::uint8_t priority) {
  const bool common = (cpu.control & kCommonBinaryPoint) != 0;
  const std::uint32_t low_bits =
      group == 0 || common ? cpu.binary_points[0] + 1U : cpu.binary_points[1];
  return static_cast<std::uint8_t>(priority & ~((1U << low_bits) - 1));
}

std::uint8_t running_priority(const GicCpu& cpu) {
  const std::uint32_t active = cpu.active_priorities[0] | cpu.active_priorities[1];
  return active == 0 ? kIdlePriority : static_cast<std::uint8_t>(std::countr_zero(active) * 8);
}

std::uint8_t binary_point(std::uint64_t value, std::uint32_t group) {
  return std::max(static_cast<std::uint8_t>(value & 7U), kBinaryPointMin[group]);
}

// "ICC_SGI1R_EL1": Aff3, Aff2 and Aff1 of the targets.
bool matches_cluster(std::uint64_t request, std::uint64_t affinity) {
  return (request >> 16U & 0xffU) == (affinity >> 8U & 0xffU) &&
         (request >> 32U & 0xffU) == (affinity >> 16U & 0xffU) &&
         (request >> 48U & 0xffU) == (affinity >> 32U & 0xffU);
}

}  // namespace

std::optional<Gic::Candidate> Gic::signaled(std::uint32_t cpu) const {
  const std::optional<Candidate> best = most_urgent(cpu);
  const GicCpu& own = cpus_[cpu];
  if (!best.has_value() || best->priority >= own.priority_mask ||
      group_priority(own, best->group, best->priority) >= running_priority(own)) {
    return std::nullopt;
  }
  return best;
}

std::uint64_t Gic::acknowledge(std::uint32_t cpu, std::uint32_t group) {
  const std::optional<Candidate> taken = signaled(cpu);
  if (!taken.has_value() || taken->group != group) {
    return kSpuriousIntid;
  }
  GicCpu& own = cpus_[cpu];
  const std::uint32_t level = group_priority(own, group, taken->priority) / 8U;
  own.active_priorities[group] |= 1U << level;
  GicWord& word = word_of(cpu, taken->intid);
  const std::uint32_t bit = 1U << (taken->intid % 32);
  word.active |= bit;
  word.latched &= ~bit;
  return taken->intid;
}

void Gic::end(std::uint32_t cpu, std::uint32_t group, std::uint64_t intid) {
  if (intid >= kIntidsEnd) {
    return;
  }
  GicCpu& own = cpus_[cpu];
  std::uint32_t& active = own.active_priorities[group];
  active &= active - 1;  // The most urgent one's; none stays none.
  if ((own.control & kSplitEnd) == 0) {
    deactivate(cpu, intid);
  }
}

void Gic::deactivate(std::uint32_t cpu, std::uint64_t intid) {
  if (intid < kIntidsEnd) {
    const auto number = static_cast<std::uint32_t>(intid);
    word_of(cpu, number).active &= ~(1U << (number % 32));
  }
}

void Gic::send_sgi(std::uint32_t cpu, std::uint32_t group, std::uint64_t request) {
  const std::uint32_t bit = 1U << (request >> 24U & 0xfU);
  const bool to_others = (request >> 40U & 1U) != 0;
  const std::uint64_t first = (request >> 44U & 0xfU) * 16;  // RS: the range of Aff0.
  for (std::uint32_t i = 0; i < cpu_count(); ++i) {
    const std::uint64_t aff0 = cpus_[i].affinity & 0xffU;
    const bool is_listed = matches_cluster(request, cpus_[i].affinity) && aff0 >= first &&
                           aff0 < first + 16 && (request >> (aff0 - first) & 1U) != 0;
    GicWord& word = cpus_[i].interrupts;
    const bool has_group = ((word.group & bit) != 0) == (group == 1);
    if (has_group && (to_others ? i != cpu : is_listed)) {
      word.latched |= bit;
    }
  }
}

std::optional<std::uint64_t> Gic::peek_icc(std::uint32_t cpu, std::uint16_t encoding) const {
  const GicCpu& own = cpus_[cpu];
  switch (encoding) {
    case kPmr:
      return own.priority_mask;
    case kBpr0:
      return own.binary_points[0];
    case kBpr1:
      return (own.control & kCommonBinaryPoint) == 0 ? own.binary_points[1]
                                                     : std::min(own.binary_points[0] + 1U, 7U);
    case kAp0r0:
      return own.active_priorities[0];
    case kAp1r0:
      return own.active_priorities[1];
    case kRpr:
      return running_priority(own);
    case kCtlr:
      return own.control | kFixedControl;
    case kSre:
      return kSystemRegistersOn;
    case kIgrpen0:
      return own.group_enabled[0] ? 1 : 0;
    case kIgrpen1:
      return own.group_enabled[1] ? 1 : 0;
    default:
      return std::nullopt;
  }
}

std::optional<std::uint64_t> Gic::read_icc(std::uint32_t cpu, std::uint16_t encoding) {
  switch (encoding) {
    case kIar0:
      return acknowledge(cpu, 0);
    case kIar1:
      return acknowledge(cpu, 1);
    case kHppir0:
    case kHppir1: {
      const std::optional<Candidate> best = most_urgent(cpu);
      const bool is_own = best.has_value() && best->group == (encoding == kHppir1 ? 1U : 0U);
      return is_own ? best->intid : kSpuriousIntid;
    }
    default:
      return peek_icc(cpu, encoding);
  }
}

bool Gic::write_icc(std::uint32_t cpu, std::uint16_t encoding, std::uint64_t value) {
  GicCpu& own = cpus_[cpu];
  switch (encoding) {
    case kPmr:
      own.priority_mask = static_cast<std::uint8_t>(value) & kPriorityBits;
      return true;
    case kEoir0:
    case kEoir1:
      end(cpu, encoding == kEoir1 ? 1 : 0, value & 0xffffffU);
      return true;
    case kBpr0:
      own.binary_points[0] = binary_point(value, 0);
      return true;
    case kBpr1:
      if ((own.control & kCommonBinaryPoint) == 0) {
        own.binary_points[1] = binary_point(value, 1);
      }
      return true;
    case kAp0r0:
    case kAp1r0:
      own.active_priorities[encoding == kAp1r0 ? 1 : 0] = static_cast<std::uint32_t>(value);
      return true;
    case kDir:
      deactivate(cpu, value & 0xffffffU);
      return true;
    case kSgi0r:
    case kSgi1r:
      send_sgi(cpu, encoding == kSgi1r ? 1 : 0, value);
      return true;
    case kCtlr:
      own.control = static_cast<std::uint8_t>(value & (kCommonBinaryPoint | kSplitEnd));
      return true;
    case kSre:
    case kAsgi1r:  // There is no other security state.
      return true;
    case kIgrpen0:
    case kIgrpen1:
      own.group_enabled[encoding == kIgrpen1 ? 1 : 0] = (value & 1U) != 0;
      return true;
    default:
      return false;
  }
}

}  // namespace stasis::hvf::sim
