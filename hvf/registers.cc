#include "hvf/registers.h"

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/text.h"
#include "hvf/register_table.h"

namespace stasis::hvf {
namespace {

constexpr std::uint16_t kSpEl0 = 0xc208;
constexpr std::uint16_t kSpEl1 = 0xe208;

Error mismatch(std::string message) {
  return Error{Errc::kMismatch, 0, std::move(message)};
}

template <typename T>
Result<T> named(Result<T> result, std::string_view name) {
  return result ? std::move(result) : std::move(result).error().with_context(name);
}

// A register of the state that the file refuses is a matter of the host, whatever the file calls
// it.
Result<void> written(Result<void> result, std::string_view name) {
  if (!result && result.error().code == Errc::kNotSupported) {
    return mismatch("this host has no " + std::string(name));
  }
  return named(std::move(result), name);
}

std::string numbered(char letter, std::uint32_t number) {
  return letter + std::to_string(number);
}

// The registers that have a field of their own, for both directions: `transfer` gets the name, what
// it is in the file, and the field.
template <typename State, typename Transfer>
Result<void> for_each_core_register(State& state, const Transfer& transfer) {
  for (std::uint32_t i = 0; i < state.x.size(); ++i) {
    STASIS_TRY(transfer(numbered('X', i), x_register(i), state.x[i]));
  }
  STASIS_TRY(transfer("PC", CoreRegister::kPc, state.pc));
  STASIS_TRY(transfer("CPSR", CoreRegister::kCpsr, state.pstate));
  STASIS_TRY(transfer("FPCR", CoreRegister::kFpcr, state.fpcr));
  return transfer("FPSR", CoreRegister::kFpsr, state.fpsr);
}

Result<std::vector<Arm64SystemRegister>> save_system(RegisterFile& file) {
  std::vector<Arm64SystemRegister> saved;
  for (const SystemRegister& reg : system_registers()) {
    auto value = file.get_system(reg.encoding);
    if (!value && value.error().code == Errc::kNotSupported && may_be_absent(reg.role)) {
      continue;
    }
    STASIS_ASSIGN(const std::uint64_t known, named(std::move(value), reg.name));
    saved.push_back({reg.encoding, known});
  }
  return saved;
}

Result<std::vector<Arm64SystemRegister>> save_gic(RegisterFile& file) {
  std::vector<Arm64SystemRegister> saved;
  if (!file.has_gic()) {
    return saved;
  }
  for (const SystemRegister& reg : gic_registers()) {
    STASIS_ASSIGN(const std::uint64_t value, named(file.get_gic(reg.encoding), reg.name));
    saved.push_back({reg.encoding, value});
  }
  std::ranges::sort(saved, {}, &Arm64SystemRegister::encoding);
  return saved;
}

constexpr std::uint16_t kPending = 0x200, kConfiguration = 0xc04;
constexpr std::uint32_t kTimerIntid = 27;

Result<std::vector<Arm64SystemRegister>> save_redistributor(RegisterFile& file) {
  std::vector<Arm64SystemRegister> saved;
  if (!file.has_gic()) {
    return saved;
  }
  STASIS_ASSIGN(const std::uint64_t configuration,
                named(file.get_redistributor(kConfiguration), "GICR_ICFGR1"));
  const bool timer_is_edge = (configuration >> (2 * (kTimerIntid - 16) + 1) & 1U) != 0;
  for (const RedistributorRegister& reg : redistributor_registers()) {
    STASIS_ASSIGN(std::uint64_t value, named(file.get_redistributor(reg.offset), reg.name));
    if (reg.offset == kPending && !timer_is_edge) {
      value &=
          ~(std::uint64_t{1} << kTimerIntid);  // Follows from the timer; written, it would stay.
    }
    saved.push_back({reg.offset, value});
  }
  std::ranges::sort(saved, {}, &Arm64SystemRegister::encoding);
  return saved;
}

const Arm64SystemRegister* find(const std::vector<Arm64SystemRegister>& list,
                                std::uint16_t encoding) {
  const auto found = std::ranges::lower_bound(list, encoding, {}, &Arm64SystemRegister::encoding);
  return found != list.end() && found->encoding == encoding ? &*found : nullptr;
}

// Every entry is known and there once, and every register that all hosts have is there.
Result<void> check_list(const std::vector<Arm64SystemRegister>& list,
                        std::span<const SystemRegister> table,
                        const SystemRegister* (*find_known)(std::uint16_t)) {
  for (std::size_t i = 0; i < list.size(); ++i) {
    const SystemRegister* const reg = find_known(list[i].encoding);
    if (reg == nullptr) {
      return mismatch("register " + hex(list[i].encoding) + " is not part of an arm64 vCPU here");
    }
    if (i > 0 && list[i - 1].encoding >= list[i].encoding) {
      return mismatch(std::string(reg->name) + ": the registers do not ascend");
    }
  }
  for (const SystemRegister& reg : table) {
    if (!list.empty() && !may_be_absent(reg.role) && find(list, reg.encoding) == nullptr) {
      return mismatch("the state has no " + std::string(reg.name));
    }
  }
  return {};
}

// All of them or none.
Result<void> check_redistributor(const std::vector<Arm64SystemRegister>& list) {
  for (const RedistributorRegister& reg : redistributor_registers()) {
    if (!list.empty() && find(list, reg.offset) == nullptr) {
      return mismatch("the state has no " + std::string(reg.name));
    }
  }
  if (list.size() > redistributor_registers().size()) {
    return mismatch("the state has redistributor registers that are not known here");
  }
  return {};
}

Error other_identity(const SystemRegister& reg, std::uint64_t here, std::uint64_t wanted) {
  return mismatch(std::string(reg.name) + " is " + hex(here) + " on this host, " + hex(wanted) +
                  " in the state");
}

// Written only where it differs, because some hosts take no write at all; then what the vCPU shows
// must be what was saved.
Result<void> load_identity(const SystemRegister& reg, std::uint64_t wanted, RegisterFile& file) {
  const auto shown = file.get_system(reg.encoding);
  if (shown && *shown == wanted) {
    return {};
  }
  auto set = file.set_system(reg.encoding, wanted);
  if (shown && !set && set.error().code == Errc::kNotSupported) {
    return other_identity(reg, *shown, wanted);
  }
  STASIS_TRY(written(std::move(set), reg.name));
  STASIS_ASSIGN(const std::uint64_t now, named(file.get_system(reg.encoding), reg.name));
  return now == wanted ? Result<void>() : other_identity(reg, now, wanted);
}

Result<void> load_system(const Arm64VcpuState& state, RegisterFile& file) {
  const auto load_those = [&](bool (*wanted)(RegisterRole)) -> Result<void> {
    for (const Arm64SystemRegister& entry : state.system) {
      const SystemRegister& reg = *find_system_register(entry.encoding);  // check_list() found it.
      if (!wanted(reg.role)) {
        continue;
      }
      STASIS_TRY(is_identity(reg.role)
                     ? load_identity(reg, entry.value, file)
                     : written(file.set_system(entry.encoding, entry.value), reg.name));
    }
    return {};
  };
  STASIS_TRY(load_those(is_identity));
  STASIS_TRY(
      load_those([](RegisterRole role) { return !is_identity(role) && !is_timer_control(role); }));
  return load_those(is_timer_control);
}

Result<void> load_gic(const Arm64VcpuState& state, RegisterFile& file) {
  if (state.gic_cpu_interface.empty()) {
    return {};
  }
  for (const SystemRegister& reg : gic_registers()) {
    const Arm64SystemRegister& entry = *find(state.gic_cpu_interface, reg.encoding);
    STASIS_TRY(written(file.set_gic(entry.encoding, entry.value), reg.name));
  }
  return {};
}

Result<void> load_redistributor(const Arm64VcpuState& state, RegisterFile& file) {
  if (state.gic_redistributor.empty()) {
    return {};
  }
  for (const RedistributorRegister& reg : redistributor_registers()) {
    if (reg.clear_offset != 0) {
      STASIS_TRY(named(file.set_redistributor(reg.clear_offset, UINT32_MAX), reg.name));
    }
  }
  for (const RedistributorRegister& reg : redistributor_registers()) {
    const Arm64SystemRegister& entry = *find(state.gic_redistributor, reg.offset);
    STASIS_TRY(named(file.set_redistributor(reg.offset, entry.value), reg.name));
  }
  return {};
}

}  // namespace

Result<Arm64VcpuState> save_registers(RegisterFile& file) {
  Arm64VcpuState state;
  STASIS_TRY(for_each_core_register(
      state, [&](std::string_view name, CoreRegister reg, std::uint64_t& field) -> Result<void> {
        STASIS_ASSIGN(field, named(file.get(reg), name));
        return {};
      }));
  for (std::uint32_t i = 0; i < state.q.size(); ++i) {
    STASIS_ASSIGN(state.q[i], named(file.get_vector(i), numbered('Q', i)));
  }
  STASIS_ASSIGN(state.sp_el0, named(file.get_system(kSpEl0), "SP_EL0"));
  STASIS_ASSIGN(state.sp_el1, named(file.get_system(kSpEl1), "SP_EL1"));
  STASIS_ASSIGN(state.system, save_system(file));
  STASIS_ASSIGN(state.gic_cpu_interface, save_gic(file));
  STASIS_ASSIGN(state.gic_redistributor, save_redistributor(file));
  STASIS_ASSIGN(state.virtual_timer, named(file.get_timer(), "virtual timer"));
  STASIS_ASSIGN(const PendingLines lines, named(file.get_pending(), "pending interrupts"));
  state.irq_pending = lines.irq;
  state.fiq_pending = lines.fiq;
  return state;
}

Result<void> load_registers(const Arm64VcpuState& state, RegisterFile& file) {
  STASIS_TRY(check_list(state.system, system_registers(), find_system_register));
  STASIS_TRY(check_list(state.gic_cpu_interface, gic_registers(), find_gic_register));
  STASIS_TRY(check_redistributor(state.gic_redistributor));
  if (!(state.gic_cpu_interface.empty() && state.gic_redistributor.empty()) && !file.has_gic()) {
    return mismatch("the state has a GIC CPU interface, this VM has no GIC");
  }
  // The timer's offset first: a compare value means a time only with it. The mask belongs to the
  // same call and keeps the timer quiet or not exactly as it was.
  STASIS_TRY(named(file.set_timer(state.virtual_timer), "virtual timer"));
  STASIS_TRY(load_system(state, file));
  STASIS_TRY(for_each_core_register(
      state, [&](std::string_view name, CoreRegister reg, std::uint64_t field) {
        return named(file.set(reg, field), name);
      }));
  for (std::uint32_t i = 0; i < state.q.size(); ++i) {
    STASIS_TRY(named(file.set_vector(i, state.q[i]), numbered('Q', i)));
  }
  STASIS_TRY(named(file.set_system(kSpEl0, state.sp_el0), "SP_EL0"));
  STASIS_TRY(named(file.set_system(kSpEl1, state.sp_el1), "SP_EL1"));
  STASIS_TRY(load_redistributor(state, file));
  STASIS_TRY(load_gic(state, file));
  return named(file.set_pending({state.irq_pending, state.fiq_pending}), "pending interrupts");
}

}  // namespace stasis::hvf
