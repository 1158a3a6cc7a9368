// A register file in memory that keeps a log, refuses what it is told to refuse, and shows the
// identity that it is told to show.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "hvf/register_file.h"
#include "hvf/register_table.h"

namespace stasis::hvf {

class FakeRegisterFile final : public RegisterFile {
 public:
  // What a test sets.
  bool gic = true;
  std::set<std::uint16_t> absent;    // System registers that this host has not.
  std::set<std::uint16_t> stubborn;  // Take a write and keep their value.
  std::set<std::uint16_t> broken;    // Fail with kBackend.
  std::set<CoreRegister> broken_core;
  std::set<std::uint32_t> broken_vectors;

  // What the vCPU holds.
  std::map<CoreRegister, std::uint64_t> core;
  std::map<std::uint32_t, Arm64Vector> vectors;
  std::map<std::uint16_t, std::uint64_t> system;
  std::map<std::uint16_t, std::uint64_t> gic_registers;
  std::map<std::uint16_t, std::uint64_t> redistributor;
  Arm64VirtualTimer timer;
  PendingLines pending;
  std::vector<std::uint16_t> system_writes;  // In order, ICC_* included.
  std::size_t writes = 0;                    // Of all kinds.

  Result<std::uint64_t> get(CoreRegister reg) override {
    STASIS_TRY(check(broken_core.contains(reg)));
    return core[reg];
  }
  Result<void> set(CoreRegister reg, std::uint64_t value) override {
    STASIS_TRY(check(broken_core.contains(reg)));
    core[reg] = value;
    ++writes;
    return {};
  }
  Result<Arm64Vector> get_vector(std::uint32_t index) override {
    STASIS_TRY(check(broken_vectors.contains(index)));
    return vectors[index];
  }
  Result<void> set_vector(std::uint32_t index, const Arm64Vector& value) override {
    STASIS_TRY(check(broken_vectors.contains(index)));
    vectors[index] = value;
    ++writes;
    return {};
  }
  Result<std::uint64_t> get_system(std::uint16_t encoding) override {
    STASIS_TRY(check_system(encoding));
    return system[encoding];
  }
  Result<void> set_system(std::uint16_t encoding, std::uint64_t value) override {
    STASIS_TRY(check_system(encoding));
    if (!stubborn.contains(encoding)) {
      system[encoding] = value;
    }
    system_writes.push_back(encoding);
    ++writes;
    return {};
  }
  [[nodiscard]] bool has_gic() const override { return gic; }
  Result<std::uint64_t> get_gic(std::uint16_t encoding) override {
    STASIS_TRY(check(broken.contains(encoding)));
    return gic_registers[encoding];
  }
  Result<void> set_gic(std::uint16_t encoding, std::uint64_t value) override {
    STASIS_TRY(check(broken.contains(encoding)));
    gic_registers[encoding] = value;
    system_writes.push_back(encoding);
    ++writes;
    return {};
  }
  Result<std::uint64_t> get_redistributor(std::uint16_t offset) override {
    STASIS_TRY(check(broken.contains(offset)));
    return redistributor[offset];
  }
  // As hardware: what is set or cleared by writing ones is.
  Result<void> set_redistributor(std::uint16_t offset, std::uint64_t value) override {
    STASIS_TRY(check(broken.contains(offset)));
    ++writes;
    if (offset == 0x180 || offset == 0x280 || offset == 0x380) {
      redistributor[static_cast<std::uint16_t>(offset - 0x80)] &= ~value;
    } else if (offset == 0x100 || offset == 0x200 || offset == 0x300) {
      redistributor[offset] |= value;
    } else {
      redistributor[offset] = value;
    }
    return {};
  }
  Result<Arm64VirtualTimer> get_timer() override { return timer; }
  Result<void> set_timer(const Arm64VirtualTimer& value) override {
    timer = value;
    ++writes;
    return {};
  }
  Result<PendingLines> get_pending() override { return pending; }
  Result<void> set_pending(const PendingLines& lines) override {
    pending = lines;
    ++writes;
    return {};
  }

 private:
  static Result<void> check(bool is_broken) {  // NOLINT: an observation, not a mode.
    return is_broken ? Result<void>(Error{Errc::kBackend, 7, "refused"}) : Result<void>();
  }
  Result<void> check_system(std::uint16_t encoding) const {
    STASIS_TRY(check(broken.contains(encoding)));
    return absent.contains(encoding) ? Result<void>(Error{Errc::kNotSupported, 0, "absent"})
                                     : Result<void>();
  }
};

}  // namespace stasis::hvf
