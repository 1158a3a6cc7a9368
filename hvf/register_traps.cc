#include "hvf/register_traps.h"

namespace stasis::hvf {
namespace {

constexpr std::uint16_t kOslar = 0x8084, kOslsr = 0x808c, kOsdlr = 0x809c, kDbgprcr = 0x80a4;
constexpr std::uint16_t kMdccint = 0x8010;
constexpr std::uint16_t kCntpct = 0xdf01;
constexpr std::uint64_t kOsLockImplemented = 8;  // OSLSR_EL1.OSLM, not locked.

// op0 3, CRn 9, CRm 12 to 14 (op1 0 and 3), and CRn 14, CRm 8 to 15 with op1 3 (PMEV*).
bool is_performance_monitor(std::uint16_t encoding) {
  const std::uint32_t op0 = encoding >> 14U, op1 = (encoding >> 11U) & 7U;
  const std::uint32_t crn = (encoding >> 7U) & 15U, crm = (encoding >> 3U) & 15U;
  return op0 == 3 && ((crn == 9 && crm >= 12 && crm <= 14 && (op1 == 0 || op1 == 3)) ||
                      (crn == 14 && crm >= 8 && op1 == 3));
}

}  // namespace

std::optional<std::uint64_t> answer_register_trap(std::uint16_t encoding, std::uint64_t count) {
  switch (encoding) {
    case kCntpct:
      return count;
    case kOslsr:
      return kOsLockImplemented;
    case kOslar:
    case kOsdlr:
    case kDbgprcr:
    case kMdccint:
      return 0;
    default:
      return is_performance_monitor(encoding) ? std::optional<std::uint64_t>(0) : std::nullopt;
  }
}

}  // namespace stasis::hvf
