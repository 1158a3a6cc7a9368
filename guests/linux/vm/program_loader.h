// execve(2): a program, its interpreter and its first stack in a fresh address space.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/x86_state.h"
#include "guests/linux/vm/guest_address_space.h"
#include "guests/linux/vm/program_file.h"

namespace stasis::linux_guest::vm {

// Value.
struct ProgramRequest {
  std::string executable;                // Canonical host path.
  std::vector<std::string> arguments;    // argv
  std::vector<std::string> environment;  // envp
  // May the guest read this canonical host path? Asked for the interpreter.
  std::function<bool(const std::string& path)> may_read = {};
  // Where things are placed: the same number, the same places.
  std::uint64_t layout_seed = 0;
  std::array<std::byte, 16> random = {};  // AT_RANDOM.
};

// Value.
struct LoadedProgram {
  X86GeneralRegisters registers;  // At the first instruction.
  std::shared_ptr<const ProgramFile> executable;
  std::shared_ptr<const ProgramFile> interpreter;  // Null: none.
};

// `space` is fresh, with RAM attached. Errors name the file and what is wrong with it: kMismatch
// (not a program for this machine), kNotFound (missing, or missing interpreter), kInvalidArgument
// (the interpreter is not on the allow-list; arguments too long), kCorruption, kIo.
Result<LoadedProgram> load_program(GuestAddressSpace& space, const ProgramRequest& request);

}  // namespace stasis::linux_guest::vm
